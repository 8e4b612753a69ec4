#!/bin/sh
# What the tests of this folder need beside Python's packages: Debian's SLURM, munge and PostgreSQL. As root it installs what is
# absent; otherwise it says what to install.
set -eu
wanted=
command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && command -v sbatch >/dev/null ||
    wanted="slurmctld slurmd slurm-client munge"
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || wanted="$wanted postgresql"
[ -n "$wanted" ] || exit 0
install="apt-get install --yes --no-install-recommends $wanted"
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "The cluster tests need more than is here. On Debian and Ubuntu, as root: $install" >&2
    exit 2
fi
echo "installing $wanted"
apt-get update --quiet=2
# Nothing is started: each test starts its own.
DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $install --quiet=2 >/dev/null

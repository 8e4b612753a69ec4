"""The demo with other seeds: is the miss really there, does the interval hold, how long does it take.

    python -m benchmarks.demo --reruns 5

Every rerun shifts all seeds of the packaged study, so that reruns share no trial, and prints one line. Nothing is chosen by its
outcome: the rate that is kept, the predicted rate and the verdict come from the small networks of that rerun alone.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from scalelaw.demo import Account, demo

HEAD = (
    "seed",
    "kept",
    "promised",
    "gave",
    "verdict",
    "predicted",
    "forecast (90 %)",
    "truth",
    "at",
    "excess/sd",
    "held",
    "seconds",
)
LINE = "{:>4}  {:>8}  {:>8}  {:>8}  {:>9}  {:>9}  {:>24}  {:>8}  {:>8}  {:>9}  {:>4}  {:>7}"
LEAST = 5.0


def main() -> None:
    """Run the demo as often as asked and sum up."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description="The demo with other seeds.")
    parser.add_argument("--reruns", type=int, default=5, help="how many, each with other seeds (default 5)")
    parser.add_argument(
        "--first", type=int, default=1, help="the shift of the first rerun's seeds (default 1; 0 is the demo itself)"
    )
    parser.add_argument("--keep", type=Path, help="keep stores, figures and reports in this folder")
    options = parser.parse_args()
    print(LINE.format(*HEAD), flush=True)
    accounts: list[Account] = []
    for seed in range(options.first, options.first + options.reruns):
        with tempfile.TemporaryDirectory() as folder:
            account = demo((options.keep or Path(folder)) / f"seed{seed}" / "study.db", seed=seed)
        accounts.append(account)
        print(line(seed, account), flush=True)
    excesses = [each.excess_sds for each in accounts]
    held = sum(each.covered for each in accounts)
    off = sum(each.ruling == "OFF_LAW" for each in accounts)
    print(
        "\nexcess over the tuned truth, in standard deviations between seeds: "
        f"least {min(excesses):.1f}, median {statistics.median(excesses):.1f} "
        f"(more than {LEAST:g} in {sum(each > LEAST for each in excesses)} of {len(accounts)})\n"
        f"verdict OFF_LAW in {off} of {len(accounts)}; the forecast's interval held the truth in {held} of {len(accounts)}\n"
        f"wall time: median {statistics.median(each.seconds for each in accounts):.0f} s, most "
        f"{max(each.seconds for each in accounts):.0f} s"
    )


def line(seed: int, account: Account) -> str:
    """One rerun."""
    tuned = account.tuned
    return LINE.format(
        seed,
        f"{account.kept.rate:.3g}",
        f"{account.promised.value:.4f}",
        f"{account.kept.loss:.4f}",
        account.ruling,
        f"{account.best_rate.value:.3g}",
        f"{tuned.value:.4f} {tuned.low:.4f}..{tuned.high:.4f}",
        f"{account.truth.loss:.4f}",
        f"{account.truth.rate:.3g}",
        f"{account.excess_sds:.1f}",
        "yes" if account.covered else "no",
        f"{account.seconds:.0f}",
    )


if __name__ == "__main__":
    main()

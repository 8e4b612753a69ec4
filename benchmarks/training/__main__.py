"""Training speed against PyTorch eager, and as a share of what this machine's matrix products reach.

    .venv-bench/bin/python -m benchmarks.training [--rounds 5] [--seconds 1.5] [--widths 64,128,256,512,1024,2048]
    .venv-bench/bin/python -m benchmarks.training gpu [--device cpu] [--widths 64,128,256,512,1024,2048,4096,8192]

The contestants of a width are started once and wait. A round gives each of them one window in turn, so that all see the same
moments of a shared machine; products and the FMA limit have a window at every width. The figures are medians over the windows.
Built-in trainer: one single-threaded process per core.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from scalelaw.train.device import single_thread_environment

from . import gpu
from .targets import Target, step_flops

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
QUIET = 0.2
MATMULS = ("matmul_jax", "matmul_numpy", "matmul_torch", "matmul_onednn")


@dataclass
class Row:
    """One contestant at one size: its processes and what they reached in each round, summed over them."""

    name: str
    size: int
    processes: int
    single: bool
    rates: list[float] = field(default_factory=list)
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self) -> bool:
        """Start the processes; whether they all came up."""
        environment = {**os.environ, **(single_thread_environment() if self.single else {"JAX_PLATFORMS": "cpu"})}
        command = [sys.executable, "-m", "benchmarks.training.contestants", self.name, str(self.size)]
        for _ in range(self.processes):
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
            self.children.append(child)
        return all(child.stdout is not None and child.stdout.readline().strip() == "ready" for child in self.children)

    def measure(self, seconds: float) -> None:
        """One window in all processes at once."""
        for child in self.children:
            assert child.stdin is not None
            child.stdin.write(f"{seconds}\n")
            child.stdin.flush()
        self.rates.append(sum(float(child.stdout.readline()) for child in self.children if child.stdout is not None))

    def stop(self) -> None:
        """End the processes."""
        for child in self.children:
            child.kill()
            child.communicate()
        self.children.clear()

    @property
    def middle(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.rates) if self.rates else float("nan")


def rows(widths: list[int]) -> list[Row]:
    """Every contestant, peaks first."""
    table = [Row("fma", 0, CORES, True)]
    table += [Row(name, size, 1, False) for name in MATMULS for size in (2048, 4096)]
    for width in widths:
        table.append(Row("scalelaw", width, CORES, True))
        table += [Row(name, width, 1, False) for name in ("torch_eager", "torch_fused")]
        table += [Row(name, width, CORES, True) for name in ("torch_eager", "torch_fused")]
    return table


def report(table: list[Row], widths: list[int]) -> None:
    """Print both tables, as Markdown."""
    found = {(row.name, row.size, row.single): row for row in table}
    print("| square float32 product | 2048, GFLOP/s | 4096, GFLOP/s |\n|---|---|---|")
    for name in MATMULS:
        cells = [f"{found[name, size, False].middle / 1e9:.0f}" for size in (2048, 4096)]
        print(f"| {name.removeprefix('matmul_')} | {cells[0]} | {cells[1]} |")
    peak = max(found[name, size, False].middle for name in MATMULS for size in (2048, 4096))
    limit = found["fma", 0, True].middle
    print(f"\nPeak: {peak / 1e9:.0f} GFLOP/s, the largest median above. FMA limit: {limit / 1e9:.0f} GFLOP/s.\n")
    print(
        f"| width | scalelaw, {CORES} x 1 | torch eager, 1 x {CORES} | torch eager, {CORES} x 1 | fused Adam, 1 x {CORES} "
        f"| fused Adam, {CORES} x 1 | against eager | against its faster layout | share of peak | share of FMA limit |\n"
        + "|---" * 10
        + "|"
    )
    for width in widths:
        ours = found["scalelaw", width, True].middle
        others = [found[name, width, single].middle for name in ("torch_eager", "torch_fused") for single in (False, True)]
        share, bound = (ours * step_flops(width) / top for top in (peak, limit))
        cells = " | ".join(f"{value:.0f}" for value in (ours, *others))
        ratios = f"{ours / others[0]:.1f}x | {ours / max(others[:2]):.1f}x"
        print(f"| {width} | {cells} | {ratios} | {100 * share:.0f} % | {100 * bound:.0f} % |")
    print()
    for target in targets(found, widths, peak):
        print(target.told)
    print("\nModel-steps per second; lowest and highest window of each:")
    for row in table:
        if row.rates and row.name in ("scalelaw", "torch_eager"):
            print(f"  {row.name} {row.size}, {row.processes} process(es): {min(row.rates):.0f} .. {max(row.rates):.0f}")


def targets(found: dict[tuple[str, int, bool], Row], widths: list[int], peak: float) -> list[Target]:
    """What is aimed at on a processor, against what was measured."""
    ours = {width: found["scalelaw", width, True].middle for width in widths}
    shares = {width: 100 * ours[width] * step_flops(width) / peak for width in widths if 256 <= width <= 1024}
    times = {width: ours[width] / found["torch_eager", width, False].middle for width in widths}
    return [
        Target("widths 256 to 1024: % of the float32 product's peak", 65, shares),
        Target("widths 64 to 2048: times PyTorch eager one at a time", 2, {w: x for w, x in times.items() if 64 <= w <= 2048}),
        Target("width 64: times PyTorch eager one at a time", 5, {w: x for w, x in times.items() if w == 64}),
    ]


def busy(seconds: float = 2.0) -> float:
    """Cores kept busy by others while this process sleeps, from /proc/stat; 0 where there is none.

    Threads that wait by spinning, as PyTorch's do, become hundreds of times slower when they share a core.
    """
    counters = Path("/proc/stat")
    if not counters.exists():
        return 0.0

    def idle() -> float:
        fields = counters.read_text().split("\n", 1)[0].split()
        return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")

    before = idle()
    time.sleep(seconds)
    return max(0.0, (os.cpu_count() or 1) - (idle() - before) / seconds)


def processor() -> str:
    """The processor's name."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    """Start everybody, run the rounds, print the tables."""
    if sys.argv[1:2] == ["gpu"]:
        gpu.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description="Training speed against PyTorch eager.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--widths", default="64,128,256,512,1024,2048")
    options = parser.parse_args()
    widths = [int(width) for width in options.widths.split(",")]
    table, rivals = rows(widths), busy()
    peaks = [row for row in table if row.name in ("fma", *MATMULS)]
    try:
        limits = [row for row in peaks if row.start()]
        for width in widths:
            started = [row for row in table if row not in peaks and row.size == width and row.start()]
            for number in range(options.rounds):
                for row in [*started, *(limits if number == 0 else ())]:
                    row.measure(options.seconds)
            for row in started:
                row.stop()
            print(f"width {width} done, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
        print(f"{processor()}, {CORES} cores, {platform.system()}; Python {platform.python_version()}\n")
        if rivals > QUIET:
            print(f"Other processes kept {rivals:.1f} cores busy before the start: these figures are not to be quoted.\n")
        report(table, widths)
    finally:
        for row in table:
            row.stop()


if __name__ == "__main__":
    main()

"""The tables of an accelerator: who trains how many steps a second by width, and how long a whole width study takes."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from scalelaw.train.device import environment_of, platforms, present

from .targets import Target, step_flops

TRAINERS = ("population", "single", "torch_eager", "torch_graph")
PEAKS = ("matmul_jax", "matmul_torch")


@dataclass(frozen=True)
class Cell:
    """The median of a contestant's windows, or why there is none."""

    rate: float = float("nan")
    networks: int = 1
    error: str = "not measured"


Cells = dict[tuple[str, str, int], Cell]


def measure(name: str, precision: str, sizes: list[int], options: argparse.Namespace) -> Cells:
    """One contestant at one precision, in a process of its own: it has the card to itself."""
    given = (options.seconds, options.rounds, options.networks, *sizes)
    command = [sys.executable, "-m", "benchmarks.training.accelerator", name, precision, options.device, *map(str, given)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=environment_of(options.device))
    cells: Cells = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            told = json.loads(line)
            if "rates" in told:
                cells[name, precision, told["size"]] = Cell(statistics.median(told["rates"]), told["networks"], "")
            else:
                cells[name, precision, told["size"]] = Cell(error=told["error"])
    for size in sizes:
        cells.setdefault((name, precision, size), Cell(error=f"its process ended with {done.returncode}"))
    print(f"{name} {precision} done", file=sys.stderr)
    return cells


def report(cells: Cells, precisions: list[str], widths: list[int], product: int) -> dict[str, float]:
    """Print the tables as Markdown; gives the peak of each precision, FLOP/s."""
    print(
        f"| square product of {product} | {' | '.join(f'{each}, TFLOP/s' for each in precisions)} |\n|---"
        + "|---" * len(precisions)
        + "|"
    )
    for name in PEAKS:
        rates = (cells[name, precision, product].rate / 1e12 for precision in precisions)
        print(f"| {name.removeprefix('matmul_')} | {' | '.join(_number(rate, '.3g') for rate in rates)} |")
    peaks = {each: max((cells[name, each, product].rate for name in PEAKS), key=_known) for each in precisions}
    for precision in precisions:
        print(f"\n**{precision}**, model-steps per second\n")
        print(f"| width | networks in a call | {' | '.join(TRAINERS)} | population / torch_eager | share of peak |")
        print("|---" * (4 + len(TRAINERS)) + "|")
        for width in widths:
            row = {name: cells[name, precision, width] for name in TRAINERS}
            ours, eager = row["population"].rate, row["torch_eager"].rate
            share = _number(100 * ours * step_flops(width) / peaks[precision], ".0f")
            speeds = " | ".join(_number(each.rate, ".0f") for each in row.values())
            print(f"| {width} | {row['population'].networks} | {speeds} | {_number(ours / eager, '.1f')} | {share} % |")
    missing = sorted({(*key, cell.error) for key, cell in cells.items() if cell.error})
    for name, precision, size, error in missing:
        print(f"\nNot measured: {name}, {precision}, {size}: {error}")
    return peaks


def targets(cells: Cells, peaks: dict[str, float]) -> list[Target]:
    """What is aimed at, against what was measured."""
    small: dict[int, float] = {}
    large: dict[str, dict[int, float]] = {"tfloat32": {}, "bfloat16": {}}
    for (name, precision, width), cell in cells.items():
        if name != "population":
            continue
        if precision == "tfloat32" and width <= 512:
            small[width] = cell.rate / cells["torch_eager", precision, width].rate
        if precision in large and width == 4096:
            large[precision][width] = 100 * cell.rate * step_flops(width) / peaks[precision]
    return [
        Target("tfloat32, widths up to 512: times PyTorch eager one at a time", 20, small),
        *(Target(f"{precision}, width 4096: % of the product's peak", 50, values) for precision, values in large.items()),
    ]


def study(widths: list[int], options: argparse.Namespace) -> None:
    """A whole width study through the command a user would give, start to end."""
    text = f"""name = "width"
task = "fashion_mnist"
seeds = 3
[scale]
width = {widths}
steps = {options.study_steps}
[hyperparameters]
learning_rate = {{ from = 1e-4, to = 3e-2, count = 12 }}
batch_size = 128
precision = "tfloat32"
"""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "width.toml").write_text(text, encoding="utf-8")
        verb = ["run", "width.toml", "--device", options.device]
        command = [sys.executable, "-c", "import sys; from scalelaw.cli import main; sys.exit(main())", *verb, "--json"]
        source = {**os.environ, "XDG_CACHE_HOME": folder, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        began = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=source)
        seconds = time.perf_counter() - began
    print(f"\n    scalelaw {' '.join(verb)}\n")
    if done.returncode not in (0, 1) or not done.stdout:
        print(f"The study ended with {done.returncode}: {done.stderr.strip()}")
        return
    told = json.loads(done.stdout)
    print(
        f"Widths {', '.join(map(str, widths))}, 12 rates x 3 seeds, {options.study_steps} steps, nothing compiled before: "
        f"{told['done']} of {told['trials']} trials ({told['diverged']} diverged) in {seconds:.0f} s."
    )


def main(arguments: list[str]) -> None:
    """Measure everybody on the accelerator; where there is none, say so."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training gpu", description="Training speed on an accelerator.")
    parser.add_argument("--device", default="gpu", choices=("gpu", "cpu"), help="cpu only tries the code")
    parser.add_argument("--widths", default="64,128,256,512,1024,2048,4096,8192")
    parser.add_argument("--precisions", default="tfloat32,bfloat16", help="of float32, tfloat32, bfloat16")
    parser.add_argument("--networks", type=int, default=36)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--product", type=int, default=8192, help="size of the square product that tells the peak")
    parser.add_argument("--study-steps", type=int, default=1000, help="of the width study; 0 leaves it out")
    options = parser.parse_args(arguments)
    if options.device not in present():
        raise SystemExit(f"no GPU: not yet measured; present: {', '.join(present())}")
    if options.device == "cpu":
        options.product = min(options.product, 256)
    widths, precisions = [int(width) for width in options.widths.split(",")], options.precisions.split(",")
    cells: Cells = {}
    for precision in precisions:
        for name in PEAKS:
            cells |= measure(name, precision, [options.product], options)
        for name in TRAINERS:
            cells |= measure(name, precision, widths, options)
    kinds = next(
        (f"{kinds[0]} ({name})" for name, kinds in platforms().items() if kinds and (name == "cpu") == (options.device == "cpu"))
    )
    print(f"{kinds}; Python {sys.version.split()[0]}\n")
    peaks = report(cells, precisions, widths, options.product)
    print()
    for target in targets(cells, peaks):
        print(target.told)
    if options.study_steps:
        study(widths, options)
    if options.device == "cpu":
        print("\nA trial of the code on a processor: no figure of an accelerator, and none to be quoted.")


def _number(value: float, form: str) -> str:
    return format(value, form) if value == value else "not measured"


def _known(value: float) -> float:
    return value if value == value else -1.0

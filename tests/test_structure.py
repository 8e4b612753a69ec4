"""The layout is the design: imports point one way, the front door is complete, importing is light, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import scalelaw

SOURCE = Path(scalelaw.__file__).parent

# A module may import from its own layer's name and from the layers before it, never from a later one.
LAYERS = (
    *(
        "errors",
        "registry",
        "notation",
        "axis",
        "condition",
        "trial",
        "schedule",
        "spool",
        "trials",
        "study",
        "study_text",
        "student",
        "estimate",
        "objective",
        "laws",
    ),
    *(
        "sums",
        "problem",
        "newton",
        "starts",
        "search",
        "inference",
        "fitted",
        "certify",
        "fit",
        "resample",
        "ample",
        "cells",
        "noise",
        "trend",
        "pieces",
        "exponents",
        "surface",
        "growth",
        "factors",
        "response",
        "readings",
        "lookahead",
        "cliff",
        "redraw",
        "frontier",
        "best_case",
        "rate_sensitivity",
        "settling",
        "transfer",
        "optimum",
        "discrepancy",
        "stack",
        "sweeps",
        "drifting",
        "mistuned",
        "unseen",
        "untested",
        "diagnostics",
        "backtest",
        "forecast",
        "suspects",
        "evidence",
        "verdict",
        "batch",
        "curves",
        "curve_laws",
        "transport",
        "sequential",
        "references",
        "watched",
        "restart",
        "watch",
        "pairing",
        "balance",
        "ray",
        "comparison",
        "compare",
        "predictive",
        "frozen",
        "scoring",
        "screening",
        "confirm",
        "drift",
    ),
    *(
        "allocate",
        "sensitivity",
        "plan",
        "tasks",
        "train",
        "trainers",
        "worker",
        "slopes",
        "coordinates",
        "engines",
        "importers",
        "figures",
        "render",
        "store",
        "importing",
        "logs",
        "batches",
        "events",
        "driver",
        "run",
        "goal",
        "until",
        "asking",
        "handover",
        "report",
        "demo",
    ),
    *("web", "cli", "testing"),
)

# What runs on a worker: the standard library, numpy and jax, and only these parts of scalelaw.
WORKER = {"worker", "trainers", "train", "tasks", "trial", "schedule", "spool", "errors", "registry", "notation"}
SMALL = ("trial", "spool", "errors", "registry")


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def layer(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py").removeprefix("_")


def imported(path: Path) -> set[str]:
    """Top-level parts of scalelaw that a file imports, by relative or absolute import."""
    found: set[str] = set()
    package = ("scalelaw", *path.relative_to(SOURCE).parts[:-1])
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("scalelaw.")}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            full = (*base, *(node.module or "").split(".")) if node.module else base
            if full[:1] != ("scalelaw",):
                continue
            found |= (
                {full[1]}
                if len(full) > 1
                else {name.name for name in node.names if (SOURCE / name.name).exists() or (SOURCE / f"{name.name}.py").exists()}
            )
    return {name.removeprefix("_") for name in found}


@pytest.mark.parametrize(
    "path",
    [path for path in modules() if path.name != "__init__.py" or path.parent != SOURCE],
    ids=lambda path: str(path.relative_to(SOURCE)),
)
def test_imports_point_one_way(path: Path) -> None:
    own = layer(path)
    if path.name == "__main__.py":
        return
    assert own in LAYERS, f"{own} has no place in the layers; add it where it belongs"
    later = {name for name in imported(path) if name in LAYERS and LAYERS.index(name) > LAYERS.index(own)}
    # The contracts in testing/ are a front door of their own: they may use everything, and nothing uses them.
    assert not later or own == "testing", f"{path.name} imports {sorted(later)} from a later layer"
    assert "testing" not in imported(path) - {own}
    if own in WORKER:
        assert imported(path) <= WORKER, f"a worker would import {sorted(imported(path) - WORKER)}"
    if own in SMALL:
        assert imported(path) <= set(SMALL)


def test_edges_are_not_used_by_the_science() -> None:
    edge = LAYERS.index("tasks")
    for path in modules():
        own = layer(path)
        if own in LAYERS and LAYERS.index(own) < edge:
            assert all(LAYERS.index(name) < edge for name in imported(path) if name in LAYERS), path


def test_members_of_an_open_set_do_not_import_each_other() -> None:
    for folder in (
        "laws",
        "diagnostics",
        "tasks",
        "trainers",
        "engines",
        "importers",
        "figures",
        "train/models",
        "train/optimisers",
    ):
        members = {path.stem for path in (SOURCE / folder).glob("*.py") if not path.stem.startswith("_")}
        for path in (SOURCE / folder).glob("*.py"):
            if path.stem not in members:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.level == 1:
                    assert (node.module or "").split(".")[0] not in members, f"{folder}/{path.name} imports a fellow member"


def test_the_command_line_computes_nothing() -> None:
    for path in (SOURCE / "cli").glob("*.py"):
        assert "numpy" not in path.read_text(encoding="utf-8"), path


def test_exports_are_complete_and_sorted() -> None:
    names = scalelaw.__all__
    assert list(names) == sorted(names)
    for name in names:
        assert getattr(scalelaw, name) is not None
    declared = {
        alias.asname
        for node in ast.walk(ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert declared == set(names), "the names for type checkers and the lazy names differ"
    with pytest.raises(AttributeError):
        _ = scalelaw.no_such_name


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_all_names_what_is_there_once(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    there = {each.id for node in assigned for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                there.add(node.name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                there.add(name)
            case ast.Import() | ast.ImportFrom():
                there |= {each.asname or each.name for each in node.names}
            case _:
                pass
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__" and isinstance(node.value, ast.List):
            names = [each.value for each in node.value.elts if isinstance(each, ast.Constant)]
            assert len(names) == len(set(names))
            assert set(names) <= there | {file.stem for file in path.parent.glob("*.py") if path.name == "__init__.py"}


HEAVY = ("jax", "matplotlib", "polars", "fastapi", "starlette", "pandas", "torch", "scipy", "sqlalchemy", "pydantic")


@pytest.mark.parametrize(
    "statement", ["import scalelaw", "import sys; sys.argv = ['scalelaw', '--help']; from scalelaw.cli import main; main()"]
)
def test_importing_is_light(statement: str) -> None:
    code = (
        "import sys\ntry:\n    exec(sys.argv[1])\nexcept SystemExit:\n    pass\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.stderr.write(','.join(heavy))\nsys.exit(bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code, statement], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{statement!r} loads {done.stderr}"


LONGEST_FILE, LONGEST_FUNCTION, MOST_POSITIONAL = 400, 60, 6


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_budget(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE, "a file over the budget has two jobs"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, f"{node.name} has two jobs"
            positional = [each.arg for each in (*node.args.posonlyargs, *node.args.args) if each.arg not in ("self", "cls")]
            assert len(positional) <= MOST_POSITIONAL, f"{node.name} takes {len(positional)} positional parameters"

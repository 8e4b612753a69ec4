"""Open sets: found by file, listed without being imported, and complete under their contracts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scalelaw.errors import ScalelawError, UnknownNameError
from scalelaw.registry import OpenSet

BASE = "class Shape:\n    name = ''\n"


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenSet[object]:
    """A package `shapes_N` with two members, a helper, and one file that is no member."""
    package = tmp_path / f"shapes_{tmp_path.name}"
    package.mkdir()
    (package / "__init__.py").write_text("from ._base import Shape\n", encoding="utf-8")
    (package / "_base.py").write_text(BASE, encoding="utf-8")
    for name in ("circle", "square"):
        text = f"from ._base import Shape\nclass {name.title()}(Shape):\n    name = '{name}'\nclass _Helper(Shape): ...\n"
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    (package / "empty.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    base = __import__(package.name).Shape
    return OpenSet(package.name, [str(package)], "shape", base)


def test_names_are_files(shapes: OpenSet[object]) -> None:
    assert shapes.names() == ["circle", "empty", "square"]
    assert list(shapes) == shapes.names()
    assert len(shapes) == 3
    assert "circle" in shapes
    assert "_base" not in shapes
    assert not any(
        name.endswith(".circle") for name in sys.modules if name.startswith("shapes_" + Path(shapes._path[0]).parent.name)
    )


def test_a_member_is_made_once(shapes: OpenSet[object]) -> None:
    assert shapes["circle"] is shapes["circle"]
    assert type(shapes["square"]).__name__ == "Square"


def test_a_name_outside_the_set_offers_the_near_one(shapes: OpenSet[object]) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown shape 'circel'.*Did you mean 'circle'"):
        _ = shapes["circel"]


def test_a_file_without_a_member_is_a_mistake(shapes: OpenSet[object]) -> None:
    with pytest.raises(ScalelawError, match="exactly one public Shape"):
        _ = shapes["empty"]


def test_listing_engines_and_importers_imports_no_member() -> None:
    code = (
        "import sys; from scalelaw.engines import engines; from scalelaw.importers import importers\n"
        "names = engines.names() + importers.names()\n"
        "assert {'local', 'csv', 'parquet', 'jsonl'} <= set(names), names\n"
        "loaded = [n for n in sys.modules if n in ('jax', 'polars', 'scalelaw.engines.local', 'scalelaw.importers.csv')]\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

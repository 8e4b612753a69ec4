"""Frozen forecasts: a forecast written down before its run is made, so that it can be scored without a way back.

The file is JSON: the target, quantiles of the predictive distribution, the settings that were recommended, the assumptions, a
hash of the data, the version of the code, and a hash of the file's own contents. That hash shows an edit; it is no signature.
Who wants to prove a date publishes or commits the hash, which is 64 digits long.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import math
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np

from ._predictive import Predictive
from .errors import InputError
from .estimate import Estimate
from .forecast import Forecast
from .trials import Trials

__all__ = ["KIND", "Frozen", "data_digest", "freeze", "is_frozen", "sidecar", "thaw"]

KIND, FORMAT = "scalelaw forecast", 1
LEVELS = (0.5, 0.8, 0.9, 0.95)
# Percent by percent, finer where intervals end.
_TAIL = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.012, 0.015, 0.025)
_HALF = sorted({*_TAIL, *(k / 100 for k in range(1, 50))})
# A run within this share of the target is a run at the target: no model has exactly 1e9 parameters.
NEAR = 0.01


@dataclass(frozen=True, eq=False)
class Frozen:
    """A forecast as it was frozen.

    Args:
        at: the target in scale columns. loss, low, high: median and interval of one run; level: of the interval.
        tuned: whether it is of a tuned run; else of the runs' one setting.
        recommended: hyperparameter -> the setting it holds at; the kept one, without width, where not tuned.
        predictive: the distribution of ln loss.
        assumptions: what the forecast was asked with. data: hash, rows, columns, source, and finished runs at the target.
        created: UTC, ISO 8601. code: version, and commit where known.
        findings: what was said of it then.
        digest: sha256 of the contents. path: of the file, or empty.
        content: everything in the file.
    """

    at: Mapping[str, float]
    loss: float
    low: float
    high: float
    level: float
    tuned: bool
    recommended: Mapping[str, Estimate]
    predictive: Predictive = field(repr=False)
    assumptions: Mapping[str, Any]
    data: Mapping[str, Any]
    created: str
    code: Mapping[str, Any]
    findings: tuple[Mapping[str, str], ...]
    digest: str
    path: str
    content: Mapping[str, Any] = field(repr=False)

    @property
    def intervals(self) -> dict[float, tuple[float, float]]:
        """Level -> interval of the loss."""
        return {float(each["level"]): (float(each["low"]), float(each["high"])) for each in self.content["intervals"]}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: the forecast without its table of quantiles."""
        return {
            "path": self.path,
            "digest": self.digest,
            "created": self.created,
            "code": dict(self.code),
            "at": dict(self.at),
            "loss": self.loss,
            "low": self.low,
            "high": self.high,
            "level": self.level,
            "intervals": self.content["intervals"],
            "tuned": self.tuned,
            "recommended": {name: each.to_dict() for name, each in self.recommended.items()},
            "assumptions": dict(self.assumptions),
            "data": dict(self.data),
            "findings": [dict(each) for each in self.findings],
        }


def freeze(forecast: Forecast, path: str | Path, *, assumptions: Mapping[str, Any] | None = None, force: bool = False) -> Frozen:
    """Write a forecast to a file that is there whole or not at all, and never over another.

    Args:
        forecast: of one point.
        path: ends in .json.
        assumptions: how it was asked for, beyond what the forecast itself knows (filter, names of columns, outcome).
        force: replace a forecast that is there, unless it has been scored.

    Raises:
        InputError: a file is there already, or the place cannot be written.
    """
    path = Path(path)
    refuse_used(path, force)
    content = _content(forecast, dict(assumptions or {}))
    content["digest"] = _digest(content)
    _write(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", force)
    return _read(content, str(path))


def thaw(path: str | Path) -> Frozen:
    """Read a frozen forecast.

    Raises:
        InputError: there is none, it is of a newer format, or it was changed after it was frozen.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        told = (error.strerror or str(error)).lower()
        raise InputError(told, str(path), "Give a file that scalelaw forecast --freeze wrote") from error
    except ValueError as error:
        raise InputError("this is no JSON", str(path), "Give a file that scalelaw forecast --freeze wrote") from error
    if not isinstance(content, dict) or cast("dict[str, Any]", content).get("kind") != KIND:
        raise InputError("this is no frozen forecast", str(path), "Give a file that scalelaw forecast --freeze wrote")
    content = cast("dict[str, Any]", content)
    if content.get("format") != FORMAT:
        raise InputError(f"format {content.get('format')!r} is unknown to this scalelaw", str(path), "Install a newer scalelaw")
    changed = InputError(
        "this file was changed after it was frozen, so it scores nothing",
        str(path),
        "Take the original back from where it was kept",
    )
    try:
        if content.get("digest") != _digest(content):
            raise changed
        return _read(content, str(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise changed from error


def is_frozen(path: str | Path) -> bool:
    """Whether the file calls itself a frozen forecast, intact or not."""
    path = Path(path)
    with contextlib.suppress(OSError, ValueError):
        if path.is_file():
            with path.open("rb") as stream:
                # The kind stands first: no need to read a store or a large table.
                return f'"{KIND}"'.encode() in stream.read(200)
    return False


def sidecar(path: str | Path) -> Path:
    """Where the scores of a frozen forecast are kept: the forecast itself stays as it is."""
    path = Path(path)
    return path.with_name(f"{path.stem}.scores.jsonl")


def refuse_used(path: Path, force: bool) -> None:
    """Refuse a place where a forecast cannot be frozen, before anything is computed."""
    if path.suffix.lower() != ".json":
        raise InputError(f"a forecast is not frozen in {path.suffix or 'a file without a suffix'}", str(path), "End it in .json")
    if not path.parent.is_dir():
        raise InputError("the folder is not there", str(path), f"Make it first: mkdir -p {path.parent}")
    if path.is_dir():
        raise InputError("this is a folder", str(path), "Give the name of a file")
    if sidecar(path).exists():
        raise InputError("the forecast of this name has been scored, and is not replaced", str(path), "Choose another name")
    if path.exists() and not force:
        raise InputError("the file is there already", str(path), "Choose another name, or replace it with --force")


def data_digest(trials: Trials) -> str:
    """sha256 of a table: its columns in order of name, every value in full; the order of the rows does not count."""
    count = len(trials)
    parts: list[np.ndarray] = []
    state = hashlib.sha256(f"{count}".encode())
    for name in sorted(trials.columns):
        column = trials.columns[name]
        text = column.dtype == object
        state.update(f"\0{name}\0{'text' if text else 'number'}".encode())
        if text:
            # Equal texts have equal hashes of one width, so that rows can be sorted as bytes.
            hashed = {value: hashlib.sha256(str(value).encode()).digest() for value in set(column.tolist())}
            joined = b"".join(hashed[value] for value in column.tolist())
            parts.append(np.frombuffer(joined, dtype=np.uint8).reshape(count, 32))
        else:
            numbers = np.where(np.isnan(column), np.nan, column + 0.0).astype(">f8")
            parts.append(np.frombuffer(numbers.tobytes(), dtype=np.uint8).reshape(count, 8))
    if parts and count:
        rows = np.ascontiguousarray(np.concatenate(parts, axis=1))
        state.update(np.sort(rows.view(f"V{rows.shape[1]}").ravel()).tobytes())
    return state.hexdigest()


def now() -> str:
    """The time, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def code() -> dict[str, Any]:
    """The version of the code, and its commit where it was installed from one."""
    version = importlib.import_module(__package__ or "scalelaw").__version__
    found: dict[str, Any] = {"scalelaw": version, "commit": None, "changed": None}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError, KeyError, TypeError):
        origin = importlib.metadata.distribution("scalelaw").read_text("direct_url.json")
        if origin and "vcs_info" in (told := json.loads(origin)):
            return {**found, "commit": str(told["vcs_info"]["commit_id"]), "changed": False}
    home = Path(__file__).resolve().parent
    top = _git(home, "rev-parse", "--show-toplevel")
    # A scalelaw that is installed inside somebody else's repository has no commit of its own.
    if top is None or Path(top) / "src" / "scalelaw" != home:
        return found
    changes = _git(home, "status", "--porcelain", "--", ".")
    return {**found, "commit": _git(home, "rev-parse", "HEAD"), "changed": None if changes is None else bool(changes)}


def _git(folder: Path, *words: str) -> str | None:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.strip() if done.returncode == 0 else None
    return None


def _content(found: Forecast, asked: dict[str, Any]) -> dict[str, Any]:
    """What is written, but its hash."""
    levels = sorted({*LEVELS, found.level})
    # The public band at 1 - 2 p ends in the quantiles p and 1 - p, whatever the forecast is made of.
    shares = sorted({*_HALF, *(round(0.5 - each / 2, 12) for each in levels)})
    ends = {share: _band(found, 1 - 2 * share) for share in shares}
    low, high = [ends[share][0] for share in shares], [ends[share][1] for share in shares]
    intervals = [{"level": each, **dict(zip(("low", "high"), ends[round(0.5 - each / 2, 12)], strict=True))} for each in levels]
    told = _plain(found.to_dict())
    edge, source = found.frontier, found.frontier.source
    kept = {name: {"value": value, "low": value, "high": value} for name, value in edge.settings.items()}
    return {
        "kind": KIND,
        "format": FORMAT,
        "created": now(),
        "code": code(),
        "data": {
            "sha256": data_digest(source),
            "rows": len(source),
            "finished": len(source.finished),
            "at_target": _at_target(source, found.at),
            "columns": sorted(source.columns),
            "source": source.source,
        },
        "assumptions": _plain({"over": edge.over, "hyper": edge.hyper, "fixed": not edge.tuned, "level": found.level, **asked}),
        "target": told["at"],
        "median": told["loss"],
        "intervals": intervals,
        "recommended": told["optimum"] if edge.tuned else kept,
        "findings": told["findings"],
        "forecast": told,
        "quantiles": {
            "probability": [*shares, 0.5, *(1 - share for share in reversed(shares))],
            "loss": [*low, told["loss"], *reversed(high)],
        },
    }


def _band(found: Forecast, level: float) -> tuple[float, float]:
    _, low, high = replace(found, level=level).predict({name: [value] for name, value in found.at.items()})
    return float(low[0]), float(high[0])


def _at_target(trials: Trials, at: Mapping[str, float]) -> int:
    """Finished runs of the data at the target itself."""
    finished = trials.finished
    same = np.ones(len(finished), dtype=bool)
    for name, value in at.items():
        same &= np.abs(finished.numbers(name) / value - 1) <= NEAR
    return int(same.sum())


def _plain(value: Any) -> Any:
    """A value as JSON knows it; what is not finite becomes null."""
    match value:
        case None | bool() | str() | int():
            return value
        case float():
            return float(value) if math.isfinite(value) else None
        case Mapping():
            return {str(key): _plain(each) for key, each in cast("Mapping[Any, Any]", value).items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(each) for each in cast("list[Any]", value)]
        case _:
            return str(value)


def _digest(content: Mapping[str, Any]) -> str:
    """sha256 of the contents in one canonical form, so that only the values count."""
    rest = {key: value for key, value in content.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(content: dict[str, Any], path: str) -> Frozen:
    told = content["forecast"]
    table = content["quantiles"]
    logs = [math.log(each) for each in table["loss"]]
    recommended = {
        name: Estimate(*(_or_nan(each[key]) for key in ("value", "low", "high"))) for name, each in content["recommended"].items()
    }
    return Frozen(
        at={name: float(value) for name, value in content["target"].items()},
        loss=float(told["loss"]),
        low=float(told["low"]),
        high=float(told["high"]),
        level=float(told["level"]),
        tuned=bool(told["tuned"]),
        recommended=recommended,
        predictive=Predictive(table["probability"], logs),
        assumptions=content["assumptions"],
        data=content["data"],
        created=content["created"],
        code=content["code"],
        findings=tuple(content["findings"]),
        digest=content["digest"],
        path=path,
        content=content,
    )


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _write(path: Path, text: str, force: bool) -> None:
    """Write `text` beside the target, flush it to the disk, and put it in place; without `force` never over another file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if force or not _link(temporary, path):
            temporary.replace(path)
    except FileExistsError as error:
        raise InputError("the file is there already", str(path), "Choose another name, or replace it with --force") from error
    except OSError as error:
        raise InputError(
            f"cannot be written ({(error.strerror or str(error)).lower()})", str(path), "Choose another place"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _link(temporary: Path, path: Path) -> bool:
    """Give a file its name only where that is free; False where the file system has no hard links.

    Raises:
        FileExistsError: the name is taken, even by somebody who took it this moment.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno == errno.EEXIST or path.exists():
            raise FileExistsError from error
        return False
    return True

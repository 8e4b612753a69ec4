"""Files of the size that is asked for, byte for byte in the layout of the real libraries.

The libraries themselves would take most of an hour to write them; tests/test_trackers.py reads what they wrote.
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import polars

from scalelaw.importers._crc import crc32c

RUNS, STEPS = 1_000, 2_000
POINTS = {"wandb": RUNS * STEPS, "tensorboard": RUNS // 10 * STEPS, "parquet": 10_000_000}
_BLOCK = 32_768


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _losses(width: int, rate: float, seed: int, steps: int = STEPS) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.02, steps)
    return 2 + 5 / width**0.5 + 4 / np.arange(1, steps + 1) ** 0.5 + 0.1 * (np.log10(rate) + 2.5) ** 2 + noise


def _settings(place: int) -> tuple[int, float, int]:
    return 64 * 2 ** (place % 5), 10 ** (-4 + 0.1 * (place // 5 % 20)), place // 100


def _item(name: str, value: float) -> bytes:
    return _field(2, name.encode()) + _field(16, json.dumps(value).encode())


def _log(records: list[bytes]) -> bytes:
    """Records in blocks, as LevelDB writes its log."""
    found = bytearray(b":W&B\xe1\xbe\x00")
    for record in records:
        rest, first = record, True
        while True:
            left = _BLOCK - len(found) % _BLOCK
            if left < 7:
                found += bytes(left)
                continue
            part, rest = rest[: left - 7], rest[left - 7 :]
            kind = (1 if first else 4) if not rest else (2 if first else 3)
            found += struct.pack("<IHB", zlib.crc32(part, zlib.crc32(bytes((kind,)))), len(part), kind) + part
            first = False
            if not rest:
                break
    return bytes(found)


def wandb_runs(folder: Path) -> None:
    """1,000 offline runs of 2,000 steps: loss, rate, W&B's own time and step, and the summary that is written with each row."""
    for place in range(RUNS):
        width, rate, seed = _settings(place)
        config = {"n_embd": width, "n_params": 24 * width**2, "lr": rate, "seed": seed}
        config |= {"batch_size": 32, "block_size": 256, "max_steps": STEPS}
        cells = [_field(1, key.encode()) + _field(16, json.dumps(value).encode()) for key, value in config.items()]
        updates = b"".join(_field(1, cell) for cell in cells)
        records = [_field(17, _field(1, f"run{place:04d}".encode()) + _field(3, b"ladder") + _field(4, updates))]
        for step, loss in enumerate(_losses(width, rate, place).tolist(), start=1):
            row = {"train/loss": loss, "train/lr": rate, "_timestamp": 1.8e9 + step, "_runtime": step * 0.25, "_step": step}
            items = [_item(name, value) for name, value in row.items()]
            records.append(_field(3, b"".join(_field(1, item) for item in items)))
            step_record = _field(2, b"\x08" + _varint(step))
            records.append(_field(2, b"".join(_field(1, item) for item in items) + step_record))
        records.append(_field(18, b"\x10" + _varint(500)))
        target = folder / "wandb" / f"offline-run-20260101_{place:06d}-run{place:04d}"
        target.mkdir(parents=True)
        (target / f"run-run{place:04d}.wandb").write_bytes(_log(records))


def event_files(folder: Path) -> None:
    """100 event files of 2,000 steps with loss and rate."""

    def frame(data: bytes) -> bytes:
        head = struct.pack("<Q", len(data))
        sums = [struct.pack("<I", (((c := crc32c(each)) >> 15 | c << 17) + 0xA282EAD8) & 0xFFFFFFFF) for each in (head, data)]
        return head + sums[0] + data + sums[1]

    for place in range(RUNS // 10):
        width, rate, _ = _settings(place)
        found = [frame(b"\x09" + struct.pack("<d", 1.8e9) + _field(3, b"brain.Event:2"))]
        for step, loss in enumerate(_losses(width, rate, place).tolist(), start=1):
            for tag, value in (("train/loss", loss), ("train/lr", rate)):
                summary = _field(1, _field(1, tag.encode()) + b"\x15" + struct.pack("<f", value))
                found.append(frame(b"\x09" + struct.pack("<d", 1.8e9 + step) + b"\x10" + _varint(step) + _field(5, summary)))
        target = folder / f"w{width}-run{place:03d}"
        target.mkdir()
        (target / "events.out.tfevents.1800000000.host").write_bytes(b"".join(found))


def long_table(folder: Path) -> None:
    """1,000 runs of 10,000 records in one Parquet file, 1e7 curve points."""
    steps = POINTS["parquet"] // RUNS
    settings = [_settings(place) for place in range(RUNS)]
    frame = polars.DataFrame(
        {
            "run_id": np.repeat([f"run{place:04d}" for place in range(RUNS)], steps),
            "step": np.tile(np.arange(1, steps + 1), RUNS),
            "train/loss": np.concatenate([_losses(w, r, place, steps) for place, (w, r, _) in enumerate(settings)]),
            "n_embd": np.repeat([w for w, _, _ in settings], steps),
            "n_params": np.repeat([24 * w**2 for w, _, _ in settings], steps),
            "tokens": np.repeat([8192 * steps] * RUNS, steps),
            "lr": np.repeat([r for _, r, _ in settings], steps),
            "seed": np.repeat([s for _, _, s in settings], steps),
        }
    )
    frame.write_parquet(folder / "runs.parquet")

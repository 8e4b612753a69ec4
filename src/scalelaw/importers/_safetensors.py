"""How many weights a checkpoint holds, from the headers of its safetensors files: no weight is read and nothing is run."""

from __future__ import annotations

import json
import math
import re
import struct
from pathlib import Path
from typing import Any

__all__ = ["count_weights"]

_LONGEST = 100 * 2**20
# Tables that are looked up rather than multiplied with, by the names that model families give them.
_EMBEDDING = re.compile(
    r"(^|\.)(wte|wpe|embed_tokens|embed_positions|word_embeddings|position_embeddings|token_type_embeddings"
    r"|embed_in|tok_embeddings|embed_out_tokens|shared)\.weight$"
)


def count_weights(folder: Path) -> tuple[int, int] | None:
    """(weights without embeddings, weights of embeddings) of a checkpoint; None where there is no header that reads."""
    files = sorted(file for file in folder.glob("*.safetensors") if file.is_file() and not file.is_symlink())
    total = embeddings = 0
    for file in files:
        header = _header(file)
        if header is None:
            return None
        for name, told in header.items():
            if name == "__metadata__":
                continue
            shape = told.get("shape") if isinstance(told, dict) else None
            if not isinstance(shape, list) or not all(isinstance(size, int) and size >= 0 for size in shape):
                return None
            count = math.prod(shape)
            total += count
            embeddings += count if _EMBEDDING.search(name) else 0
    return (total - embeddings, embeddings) if total else None


def _header(file: Path) -> dict[str, Any] | None:
    try:
        with file.open("rb") as stream:
            size = struct.unpack("<Q", stream.read(8))[0]
            if size > _LONGEST:
                return None
            found = json.loads(stream.read(size))
    except (OSError, ValueError, struct.error, RecursionError):
        return None
    return found if isinstance(found, dict) else None

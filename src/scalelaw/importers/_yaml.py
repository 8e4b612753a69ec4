"""As much YAML as trackers write: nested mappings of scalars. Tags, anchors and lists are passed over, so nothing can be made."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["read_yaml"]

_LINE = re.compile(r"""( *)(?:"((?:[^"\\]|\\.)*)"|'((?:[^']|'')*)'|([^\s:#\-&*!|>'"%@`{\[][^:#]*?|-[^\s:]+)) *:(?: +(.*))?""")
_DEEPEST = 20


def read_yaml(text: str) -> dict[str, Any]:
    """The mapping in `text`; what is not understood is left out."""
    root: dict[str, Any] = {}
    open_at: list[tuple[int, dict[str, Any]]] = [(-1, root)]
    skip: int | None = None
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        indent = len(line) - len(line.lstrip(" "))
        if skip is not None:
            # Items of a list may stand at the level of their key.
            if indent > skip or line.lstrip().startswith("- ") or line.strip() == "-":
                continue
            skip = None
        found = _LINE.fullmatch(line.rstrip())
        if found is None:
            continue
        while open_at[-1][0] >= indent:
            open_at.pop()
        quoted = found[2] if found[2] is not None else found[3]
        key, value = quoted if quoted is not None else found[4], found[5]
        into = open_at[-1][1]
        if value is None or not value.strip():
            if len(open_at) < _DEEPEST:
                inner: dict[str, Any] = {}
                into[key] = inner
                open_at.append((indent, inner))
        elif value[0] in "!&*|>{":
            skip = indent
        else:
            into[key] = _scalar(value.strip())
    return _without_empty(root)


def _scalar(text: str) -> Any:
    if text[0] == '"':
        try:
            return json.loads(text)
        except ValueError:
            return text.strip('"')
    if text[0] == "'":
        return text.strip("'").replace("''", "'")
    text = re.sub(r"\s+#.*", "", text)
    low = text.lower()
    if low in ("null", "~", "none"):
        return None
    if low in ("true", "false"):
        return low == "true"
    if low in (".nan", ".inf", "-.inf"):
        return float(low.replace(".", ""))
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    """A key without a value is none: `key:` before a list that was passed over."""
    return {name: _without_empty(value) if isinstance(value, dict) else value for name, value in values.items() if value != {}}

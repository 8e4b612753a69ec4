"""Files and text from `FigureData`: PNG, SVG and PDF, the same bytes for the same numbers."""

from __future__ import annotations

import html
import io
import re
import threading
from pathlib import Path

from ..errors import InputError, UnknownNameError
from ..figures import FigureData
from ._style import FONT, THEMES

__all__ = ["FORMATS", "inline_svg", "paint"]

FORMATS = ("png", "svg", "pdf")

# matplotlib reads its settings from one global table.
_LOCK = threading.Lock()
_NO_DATE = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None, "Creator": None}}


def paint(
    figure: FigureData, path: str | Path | None = None, *, format: str | None = None, dpi: float = 200, theme: str = "light"
) -> bytes:
    """Paint a figure; returns the file's bytes and writes them to `path` where it is given.

    Args:
        figure: what to show.
        path: the file; its suffix decides the format unless `format` does.
        format: png, svg or pdf; png where neither says.
        dpi: dots per inch of a PNG. Four panes are 9.5 inches wide.
        theme: light or dark.

    Raises:
        UnknownNameError: a format or theme that does not exist.
        InputError: the file cannot be written.
    """
    target = Path(path) if path is not None else None
    chosen = (format or (target.suffix.lstrip(".") if target is not None else "") or "png").lower()
    if chosen not in FORMATS:
        raise UnknownNameError("figure format", chosen, FORMATS, str(target or ""))
    if theme not in THEMES:
        raise UnknownNameError("theme", theme, THEMES)
    content = _bytes(figure, chosen, dpi, theme)
    if target is not None:
        try:
            target.write_bytes(content)
        except OSError as error:
            raise InputError(
                f"cannot write the figure: {error.strerror or error}", str(target), "Choose a folder that exists and is yours"
            ) from error
    return content


def inline_svg(figure: FigureData, *, theme: str = "light") -> str:
    """An `<svg>` element for an HTML page: it scales with the page, and its ids clash with those of no other figure."""
    text = paint(figure, format="svg", theme=theme).decode()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    # Short ids and a hundredth of a point, finer than any screen, make half of what matplotlib writes.
    used = dict.fromkeys(re.findall(r'(?:href="|url\()#([^")]+)', text))
    short = {name: f"{figure.name}-{theme}-{place}" for place, name in enumerate(used)}
    text = re.sub(r' id="([^"]*)"', lambda match: f' id="{short[match[1]]}"' if match[1] in short else "", text)
    text = re.sub(r'(href="|url\()#([^")]+)', lambda match: f"{match[1]}#{short[match[2]]}", text)
    text = re.sub(r' (?:d|x|y)="[^"]*"', lambda match: re.sub(r"(\.\d\d)\d+", r"\1", match[0]), text)
    text = re.sub(r">\s+<", "><", text).replace(" xlink:href=", " href=")
    head, rest = text[: text.index(">")], text[text.index(">") :]
    head = re.sub(r' (?:width|height|version)="[^"]*"', "", head)
    label = html.escape(figure.description or figure.title, quote=True)
    return f'{head} role="img" aria-label="{label}"{rest}'


def _bytes(figure: FigureData, format: str, dpi: float, theme: str) -> bytes:
    import matplotlib

    from ._matplotlib import draw

    buffer = io.BytesIO()
    with _LOCK, matplotlib.rc_context():
        # A user's own matplotlibrc must not change what a figure looks like.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.family": [FONT],
                "svg.hashsalt": f"scalelaw-{figure.name}-{theme}",
                "svg.fonttype": "path",
                "pdf.fonttype": 42,
                "axes.unicode_minus": True,
                "path.simplify": False,
            }
        )
        canvas = draw(figure, THEMES[theme])
        canvas.savefig(buffer, format=format, dpi=dpi, metadata=_NO_DATE[format], facecolor=THEMES[theme].paper)
    return buffer.getvalue()

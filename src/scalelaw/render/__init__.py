"""Painters of `FigureData`. They decide how a figure looks and never what it shows.

`paint` writes PNG, SVG or PDF with matplotlib, `inline_svg` gives SVG for the inside of an HTML page, and `page` is the
report's page.
"""

from __future__ import annotations

from ._page import facts, page, short
from ._paint import FORMATS, inline_svg, paint

__all__ = ["FORMATS", "facts", "inline_svg", "page", "paint", "short"]

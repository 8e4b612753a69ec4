"""How scalelaw's figures look: colours, ramps, weights and sizes. Plain data, so that every painter can share it.

Colours hold for readers who do not tell red from green: the ramps rise evenly in lightness, and every role also differs by its
line or marker. Rates are viridis, losses are magma (viridis and magma: Smith and van der Walt 2015, CC0), sizes are one blue
and gains one green, which darken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..figures import Role

__all__ = ["FONT", "SIZES", "THEMES", "Sizes", "Stroke", "Theme"]

# Ships with matplotlib, so a figure looks the same on every machine.
FONT = "DejaVu Sans"

_VIRIDIS = ("#440154", "#482576", "#414487", "#35608d", "#2a788e", "#21908d", "#22a884", "#42be71", "#7ad151", "#bddf26")
_MAGMA = ("#1d1147", "#3b0f70", "#641a80", "#8c2981", "#b73779", "#de4968", "#f7705c", "#fe9f6d", "#fecf92", "#fcf3c8")
_GREENS = ("#eef3f1", "#cfe5dd", "#9fd0c0", "#64b49d", "#2f9279", "#0f6f5a", "#06453a")
_BLUES = ("#a9cdea", "#7fb2dc", "#5896cb", "#3879b5", "#215c99", "#124079", "#0a2754")


@dataclass(frozen=True)
class Stroke:
    """Colour, line width in points, dashes (on, off, ... in line widths; empty for solid), marker and its size in points."""

    colour: str
    width: float = 1.0
    dash: tuple[float, ...] = ()
    marker: str = "o"
    size: float = 4.0


@dataclass(frozen=True)
class Theme:
    """One set of colours: the paper, the ink, greys between them, ramps by name, and a stroke for each role; `danger` fills the
    cliff's band, `band` all others."""

    paper: str
    ink: str
    muted: str
    faint: str
    void: str
    band: str
    danger: str
    ramps: Mapping[str, tuple[str, ...]]
    strokes: Mapping[Role, Stroke]


@dataclass(frozen=True)
class Sizes:
    """Lengths in inches and font sizes in points."""

    width: float = 4.75
    height: float = 3.55
    left: float = 0.66
    right: float = 0.80
    bottom: float = 0.50
    top: float = 0.42
    text: float = 8.0
    title: float = 9.0
    small: float = 7.2


SIZES = Sizes()


def _strokes(ink: str, muted: str, alarm: str, law: str) -> dict[Role, Stroke]:
    return {
        Role.RUN: Stroke(muted, 0.7, size=3.4),
        Role.BEST: Stroke(ink, 0.9, size=4.6),
        Role.UNSEEN: Stroke(ink, 0.9, size=5.0),
        Role.TUNED_LAW: Stroke(law, 1.7),
        Role.FIXED_LAW: Stroke(ink, 1.3, (4.0, 2.2)),
        Role.FORECAST: Stroke(law, 1.5, marker="s", size=5.2),
        Role.MISSED: Stroke(alarm, 1.4, marker="X", size=8.0),
        Role.JUDGED: Stroke(law, 1.2, marker="D", size=5.0),
        Role.KEPT: Stroke(muted, 1.1, (1.2, 1.8)),
        Role.CLIFF: Stroke(alarm, 1.4, (5.0, 1.6)),
        Role.IDEAL: Stroke(muted, 1.1, (1.2, 1.8)),
        Role.OTHER: Stroke(ink, 1.3, (4.0, 2.2), marker="o", size=4.6),
        Role.FAILED: Stroke(alarm, 0.9, marker="x", size=4.0),
        Role.OFFER: Stroke(muted, 0.0, marker="s", size=5.0),
        Role.CHOSEN: Stroke(ink, 1.1, marker="D", size=5.0),
    }


THEMES: Mapping[str, Theme] = {
    "light": Theme(
        paper="#ffffff",
        ink="#1b1f27",
        muted="#667080",
        faint="#e6e8ec",
        void="#eceef1",
        band="#cfe0ee",
        danger="#f6d5d3",
        ramps={"rate": _VIRIDIS, "loss": _MAGMA, "size": _BLUES, "gain": _GREENS},
        strokes=_strokes("#1b1f27", "#667080", "#d11f2a", "#0f6cab"),
    ),
    "dark": Theme(
        paper="#14171c",
        ink="#e7e9ee",
        muted="#98a2b3",
        faint="#2a2f38",
        void="#2a2f38",
        band="#1d3b52",
        danger="#4f2629",
        ramps={
            "rate": ("#6a4c93", "#5a64a8", "#4679ad", "#368fae", "#2ea7a5", "#3dbc8d", "#70cf6c", "#a9db4f", "#e3e54a"),
            "loss": tuple(reversed(_MAGMA)),
            "size": ("#27507c", "#3069a1", "#4585c1", "#66a1d6", "#8fbde6", "#bcd8f2", "#e6f1fb"),
            "gain": ("#1f2a2b", "#1f4a43", "#22715f", "#35967c", "#62b99b", "#9bd8be", "#dcf5e8"),
        },
        strokes=_strokes("#e7e9ee", "#98a2b3", "#ff6b6b", "#5fb4f0"),
    ),
}

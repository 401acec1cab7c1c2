"""The report's colours, named by what they stand for, for a light and for a dark page.

Invariants: both palettes name the same things; LONG and SHORT, and gain and loss, differ along the axis of blue and
orange, so that they are told apart without seeing red and green; text on its ground has a contrast of 4.5
or more (a test computes it).
"""

from collections.abc import Mapping
from typing import Final

LIGHT: Final[Mapping[str, str]] = {
    "ground": "#f4f5f7",
    "surface": "#ffffff",
    "ink": "#17202b",
    "muted": "#566273",
    "rule": "#dde2e8",
    "focus": "#1257a6",
    "long": "#0a67ac",
    "short": "#b9530d",
    "gain": "#06705a",
    "loss": "#a8391c",
    "price": "#46525f",
    "center": "#7a5ba6",
    "equity": "#1c4f8f",
    "hold": "#8a6a1f",
    "drawdown": "#96386b",
    "pause": "#b38600",
}
DARK: Final[Mapping[str, str]] = {
    "ground": "#10141a",
    "surface": "#181e26",
    "ink": "#e7ebf1",
    "muted": "#9ba7b6",
    "rule": "#2c3540",
    "focus": "#8cc1ff",
    "long": "#5fb4f2",
    "short": "#f2994f",
    "gain": "#52cfa6",
    "loss": "#f58b70",
    "price": "#b4bfcc",
    "center": "#b9a0e4",
    "equity": "#86b7f5",
    "hold": "#d9b864",
    "drawdown": "#e592ba",
    "pause": "#dcb544",
}


def properties(palette: Mapping[str, str]) -> str:
    """Write a palette as the declarations of CSS custom properties."""
    return "".join(f"--{name}:{colour};" for name, colour in palette.items())

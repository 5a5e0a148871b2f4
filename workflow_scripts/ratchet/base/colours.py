"""Colours by role, for light and dark; the page's style sheet uses the same names.

Text colours have a contrast of at least 4.5 on both backgrounds, marks in
figures at least 3.  No meaning rests on colour alone: every class of points
has a shape, every verdict its word.
"""

LIGHT = {
    "page": "#faf9f6",
    "surface": "#ffffff",
    "ink": "#20252b",
    "muted": "#5a626b",
    "line": "#dddad2",
    "keep": "#17784a",
    "discard": "#868d95",
    "crash": "#b5362a",
    "baseline": "#3a5da6",
    "champion": "#7b3f9d",
    "orange": "#a85a00",
    "teal": "#00757d",
    "magenta": "#a8327e",
}
DARK = {
    "page": "#14171a",
    "surface": "#1b1f23",
    "ink": "#e4e2dc",
    "muted": "#a2a9b1",
    "line": "#373d44",
    "keep": "#55c895",
    "discard": "#7f8790",
    "crash": "#f18c80",
    "baseline": "#8fb1f2",
    "champion": "#cb9fec",
    "orange": "#eda35b",
    "teal": "#4fc3cc",
    "magenta": "#ee92cb",
}


def css_variables(palette: dict[str, str]) -> str:
    """Declarations such as ``--keep: #17784a;``."""
    return " ".join(f"--{name}: {colour};" for name, colour in palette.items())

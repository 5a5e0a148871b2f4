"""Figures that answer: the same specifications, compiled to Vega, with zoom and tips.

Vega-Lite is compiled here, so that the page carries Vega alone.  Expressions are
left as syntax trees for Vega's interpreter: nothing in the page needs ``eval``.
Colours become the style sheet's variables, so that the page's theme is theirs too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import vl_convert

from ratchet.report.frames import Frame, Spec
from ratchet.report.palette import LIGHT

ZOOM = "zoom"
"""Name of the selection that moves and scales the horizontal axis."""

# Only with Ctrl, so that the wheel still scrolls the page.
WHEEL = "wheel![event.ctrlKey]"
_ROLES = {colour: name for name, colour in LIGHT.items()}
_COLOUR = re.compile(r'"(#[0-9a-f]{6})"')


def interactive(spec: Spec, frame: Frame) -> Spec:
    """A figure of this package for the page's script.

    ``spec`` for Vega, ``aside`` the paddings beside the plot, ``zoom`` the signal that
    sets what part of the horizontal axis is shown.

    Layers whose rows have a ``tip`` show it when they are pointed at.  All layers but
    words are clipped to the plot, and words leave it when their points do.
    """
    layers = [_layer(each) for each in spec["layer"]]
    first = next(i for i, each in enumerate(layers) if _is_horizontal(each))
    layers[first] = {**layers[first], "params": [_zoom()]}
    plain = {key: value for key, value in spec.items() if key != "title"}
    compiled = vl_convert.vegalite_to_vega({**plain, "layer": layers, "background": None})
    for data in compiled["data"]:
        if "values" in data:
            data["values"] = [_rounded(row) for row in data["values"]]
    return {
        "spec": json.loads(_COLOUR.sub(_variable, json.dumps(compiled))),
        "aside": frame.left + frame.right,
        "zoom": f"{ZOOM}_{layers[first]['encoding']['x']['field']}",
    }


def _rounded(row: Spec) -> Spec:
    """Eight digits are more than a screen can show."""
    return {
        key: float(f"{value:.8g}") if isinstance(value, float) else value
        for key, value in row.items()
        if value is not None and value != ""
    }


def _zoom() -> Spec:
    select = {"type": "interval", "encodings": ["x"], "zoom": WHEEL}
    return {"name": ZOOM, "select": select, "bind": "scales"}


def _layer(layer: Spec) -> Spec:
    mark, encoding = dict(layer["mark"]), {**layer["encoding"]}
    rows = layer["data"]["values"]
    if "x" in encoding:
        encoding["x"] = _free(encoding["x"])
    mark["clip"] = mark["type"] != "text"
    if mark["type"] == "text" and _is_horizontal(layer):
        field = encoding["x"]["field"]
        inside = f"inrange(datum[{json.dumps(field)}], domain('x'))"
        encoding["opacity"] = {"condition": {"test": inside, "value": 1}, "value": 0}
    if rows and "tip" in rows[0]:
        # That there is something to say; the page's script finds what.
        encoding["tooltip"] = {"value": "tip"}
        mark["cursor"] = "pointer"
    return {**layer, "mark": mark, "encoding": encoding}


def _free(x: Mapping[str, Any]) -> Spec:
    """An axis that finds its own ticks, since its domain will change."""
    x = dict(x)
    if "clamp" in x.get("scale", {}):
        x["scale"] = {**x["scale"], "clamp": False}
    if not isinstance(x.get("axis"), dict):
        return x
    axis = {key: value for key, value in x["axis"].items() if key != "values"}
    if axis.get("format") == ",d":
        axis["tickMinStep"] = 1
    return {**x, "axis": axis}


def _is_horizontal(layer: Spec) -> bool:
    return "field" in layer["encoding"].get("x", {})


def _variable(match: re.Match[str]) -> str:
    role = _ROLES.get(match[1])
    return f'"var(--{role})"' if role else match[0]

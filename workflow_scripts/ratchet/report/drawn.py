"""Drawings that stand in a page: as SVG in the page's colours, and once per set of rows."""

from __future__ import annotations

import copy
import re

import vl_convert

from ratchet.report.frames import Spec
from ratchet.report.palette import LIGHT

_COLOUR = re.compile(r'(fill|stroke)="(#[0-9a-f]{6}|white)"')
_SIZE = re.compile(r'^(<svg [^>]*?)width="\d+(?:\.\d+)?" height="\d+(?:\.\d+)?"')
_LONG = re.compile(r"(?<![#\w])(-?\d+\.\d\d)\d+")
_ROLES = {colour: name for name, colour in LIGHT.items()}


def svg(spec: Spec) -> str:
    """A figure as SVG, in light colours."""
    drawn: str = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    return drawn


def themed(drawn: str) -> str:
    """The same drawing with the page's colours, scaling with its box."""

    def variable(match: re.Match[str]) -> str:
        name = "surface" if match[2] == "white" else _ROLES.get(match[2])
        return f'{match[1]}="var(--{name})"' if name else match[0]

    # A hundredth of a pixel cannot be seen, and a thousand points have many digits.
    return _COLOUR.sub(variable, _LONG.sub(r"\1", _SIZE.sub(r"\1", drawn))).replace(
        ' opacity="1"', ""
    )


def shared(plots: list[Spec]) -> list[Spec]:
    """Plots of the same rows, the rows only once: later plots say ``same: i`` for them."""
    plots = copy.deepcopy(plots)
    for plot in plots[1:]:
        known = [data.get("values") for data in plots[0]["spec"]["data"]]
        for data in plot["spec"]["data"]:
            if data.get("values") and data["values"] in known:
                data["same"] = known.index(data.pop("values"))
    return plots

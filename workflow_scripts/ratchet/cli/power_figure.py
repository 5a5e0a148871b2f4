"""Power curves: by the size of an effect, for several numbers of seeds."""

from __future__ import annotations

import html
from typing import Any

from ratchet.cli.power_text import lines
from ratchet.power import detectable, power_of
from ratchet.report.frames import Frame, Row, Spec, base, layer
from ratchet.report.palette import LIGHT

FRAME = Frame(width=640, height=360, left=64, right=130, top=92, bottom=48)
PNG_SCALE = 2
LARGEST = 5.0
"""Effect at the right edge, in noise sds; one seed shows it almost surely."""

STEP = 0.05
CURVES = ((1, "discard"), (2, "crash"), (3, "champion"), (5, "baseline"), (10, "keep"))
"""Seeds per side, and the colour's role."""

LABEL_POWER = 0.5
"""Where the curves are furthest apart, and so have room for a label."""

KNOWN, ESTIMATED = "noise floor known", "estimated from these runs"
LABEL_ORDER = [f"{n} seed{'s' * (n != 1)}" for n, _ in CURVES]


def curves(facts: dict[str, Any]) -> Spec:
    """The figure as a Vega-Lite specification."""
    rows = _rows(facts["alpha"])
    scale = {"domain": LABEL_ORDER, "range": [LIGHT[role] for _, role in CURVES]}
    encoding = {
        **_axes(),
        "color": {
            "field": "seeds",
            "type": "nominal",
            "scale": scale,
            "legend": {"title": "per side", "symbolType": "stroke", "symbolStrokeWidth": 2.4},
        },
        "strokeDash": {
            "field": "noise",
            "type": "nominal",
            "scale": {"domain": [KNOWN, ESTIMATED], "range": [[1, 0], [4, 3]]},
            "legend": {
                "title": None,
                "orient": "none",
                "direction": "horizontal",
                "legendX": 0,
                "legendY": -22,
                "symbolSize": 300,
                "labelLimit": 240,
            },
        },
    }
    wanted = [{"x": 0.0, "x2": LARGEST, "y": facts["power"]}]
    rule = {"type": "rule", "color": LIGHT["muted"], "strokeDash": [2, 3]}
    noise = facts["noise"]
    return {
        **base(FRAME),
        "title": {
            "text": "Probability to show an improvement",
            "subtitle": f"one-sided level {facts['alpha']:g}; 1 noise sd is {noise['sd']:.3g}",
            "anchor": "start",
            "frame": "group",
            "offset": 30,
            "fontSize": 15,
            "color": LIGHT["ink"],
            "subtitleColor": LIGHT["muted"],
        },
        "layer": [
            layer(wanted, rule, {**_axes(), "x2": {"field": "x2"}}),
            layer(rows, {"type": "line", "strokeWidth": 2}, encoding),
            *_labels(facts["alpha"], encoding["color"]),
        ],
    }


def _labels(alpha: float, colour: Spec) -> list[Spec]:
    """The number of seeds on each curve, so that colour is not all there is."""
    rows = [
        {"x": detectable(n, alpha, LABEL_POWER, known=True), "y": LABEL_POWER, "text": f"{n}"}
        | {"seeds": label}
        for (n, _), label in zip(CURVES, LABEL_ORDER, strict=True)
    ]
    text = {"text": {"field": "text", "type": "nominal"}}
    mark = {"type": "text", "fontSize": 13, "fontWeight": "bold"}
    halo = {"stroke": LIGHT["surface"], "strokeWidth": 6, "strokeJoin": "round"}
    return [
        layer(rows, {**mark, **halo, "color": LIGHT["surface"]}, {**_axes(), **text}),
        layer(rows, mark, {**_axes(), **text, "color": colour}),
    ]


def _rows(alpha: float) -> list[Row]:
    found = []
    for (seeds, _), label in zip(CURVES, LABEL_ORDER, strict=True):
        for name, known in ((KNOWN, True), (ESTIMATED, False)):
            for step in range(round(LARGEST / STEP) + 1):
                chance = power_of(step * STEP, seeds, alpha, known)
                if chance is not None:
                    at = {"x": round(step * STEP, 4), "y": round(chance, 6)}
                    found.append({**at, "seeds": label, "noise": name})
    return found


def _axes() -> Spec:
    return {
        "x": {
            "field": "x",
            "type": "quantitative",
            "scale": {"domain": [0, LARGEST], "nice": False},
            "axis": {
                "title": "true effect, in noise sds",
                "values": [0, 1, 2, 3, 4, 5],
                "format": "d",
                "grid": False,
            },
        },
        "y": {
            "field": "y",
            "type": "quantitative",
            "scale": {"domain": [0, 1], "nice": False},
            "axis": {"title": "power", "values": [0, 0.2, 0.4, 0.6, 0.8, 1], "format": ".1f"},
        },
    }


def drawn(facts: dict[str, Any], suffix: str) -> bytes:
    """The figure as a file of this kind; a page holds the tables as well."""
    import vl_convert  # slow to load, and only for pictures

    spec = curves(facts)
    if suffix == ".png":
        png: bytes = vl_convert.vegalite_to_png(spec, scale=PNG_SCALE, allowed_base_urls=[])
        return png
    svg: str = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    return (svg if suffix == ".svg" else _page(facts, svg)).encode()


def _page(facts: dict[str, Any], svg: str) -> str:
    """One file that needs no network and runs no script, and says so to the browser."""
    text = html.escape("\n".join([*lines(facts), *facts["warnings"]]))
    style = (
        f"body {{ background: {LIGHT['page']}; color: {LIGHT['ink']}; margin: 2rem auto; "
        "max-width: 56rem; padding: 0 1rem; font-family: sans-serif } "
        "svg { max-width: 100%; height: auto } pre { overflow-x: auto; font-size: 0.85rem }"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>Power</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"{svg}\n<pre>{text}</pre>\n</body>\n</html>\n"
    )

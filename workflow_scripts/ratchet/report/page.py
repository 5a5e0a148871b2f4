"""A page from a template of this folder, self-contained: its style and scripts are in it.

Other people's texts are escaped, and a content security policy allows the page's own
scripts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ratchet import __version__
from ratchet.report import scripts, text
from ratchet.report.palette import DARK, LIGHT, css_variables

GENERATOR = "Ratchet report"
"""What every page of ours says of itself in its head."""


def asset(name: str) -> str:
    """A template, a style sheet or a script of this package."""
    return resources.files("ratchet.report").joinpath(name).read_text(encoding="utf-8")


def fill(
    template: str,
    decimals: int,
    filters: Mapping[str, Callable[..., Any]],
    inline: Sequence[str],
    **values: Any,
) -> str:
    """A template filled with ``values``; metrics have ``decimals``, scripts are ``inline``."""
    environment = Environment(
        loader=FunctionLoader(asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        {
            "metric": lambda value: text.number(value, decimals),
            "signed": lambda value: text.number(value, decimals, signed=True),
            "number": text.number,
            "percent": text.percent,
            "plural": text.plural,
            "dash": lambda value: text.DASH if value is None or value == "" else value,
            **filters,
        }
    )
    return environment.get_template(template).render(
        scripts=[Markup(code) for code in inline],
        policy=Markup(scripts.policy(inline)),
        style=Markup(asset("report.css")),
        light=Markup(css_variables(LIGHT)),
        dark=Markup(css_variables(DARK)),
        generator=GENERATOR,
        version=__version__,
        **values,
    )

"""Pages as a browser would see them, and whether anything in them could run or load."""

import re
from html.parser import HTMLParser

import pytest
from markupsafe import Markup

from ratchet.report import render

HOSTILE = (
    "</script></style><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}{% raw %}"
    '\x1b[31m\x1b]0;title\x07\u202egnp.exe\u2066\' onload="x" --> ]]> <svg/onload=alert(3)>'
    " <a href='javascript:alert(4)'>https://example.org/x.js</a>"
)
PLOTS = re.compile(r'<script type="application/json" id="plots">([^<]*)</script>')
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
LOADS = {"script", "img", "link", "iframe", "object", "embed", "base", "form"}


class Page(HTMLParser):
    """Tags, attributes and words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def values(self, wanted: str) -> list[str]:
        """Values of an attribute, in the page's order."""
        return [value for _, name, value in self.attributes if name == wanted]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def without_scripts(page: str) -> str:
    """A page without its own scripts, which must be exactly those that its policy allows."""
    rest, found = PLOTS.subn("", page)
    assert found == 1
    for code in render.page_scripts():
        block = f"<script>{code}</script>"
        assert rest.count(block) == 1
        rest = rest.replace(block, "")
    return rest


def check_inert(text: str) -> Page:
    """A page without scripts, once it is clear that nothing in it runs, loads or leads away."""
    found = Page(text)
    assert not found.tags & LOADS
    for tag, name, value in found.attributes:
        assert not name.startswith("on") and name not in ("src", "srcset", "action"), (tag, name)
        if name in ("href", "xlink:href"):
            assert value.startswith("#"), value
        shown = name in ("aria-label", "title") or name.startswith("xmlns")
        assert "://" not in value or shown, (name, value)
        assert not re.search(r"url\((?!#)", value)
    assert "@import" not in text and "url(" not in text.split("</style>")[0]
    assert not CONTROLS.search(text)
    return found


def undraw(patch: pytest.MonkeyPatch) -> None:
    """Let pages be made without their figures, which take most of the time."""
    stills = {name: [Markup("<svg/>")] for name in render.FIGURES}
    patch.setattr(render, "draw_figures", lambda *_, **__: (stills, Markup("{}")))

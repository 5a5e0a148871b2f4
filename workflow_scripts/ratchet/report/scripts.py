"""The scripts of the page: kept libraries of others, and our own, each named by its hash.

``vendor/vendored.json`` says what the libraries are, where they came from and what
bytes they have.  A content security policy made from the hashes allows these scripts
and nothing else, so that no text in the page can become one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

FOLDER = resources.files("ratchet.report")
VENDOR = FOLDER / "vendor"

_IMPORT = re.compile(r"^import \{([^}]*)\} from 'vega-util';$", re.MULTILINE)
_EXPORT = re.compile(r"^export \{ (\w+) as (\w+) \};$", re.MULTILINE)
_MAP = re.compile(r"^//# sourceMappingURL=.*$", re.MULTILINE)


@cache
def vendored() -> tuple[Mapping[str, str], ...]:
    """What is kept of others, in the order in which the page needs it."""
    return tuple(json.loads(VENDOR.joinpath("vendored.json").read_text(encoding="utf-8")))


@cache
def scripts() -> tuple[str, ...]:
    """Every script of the page in order, as it stands between its tags."""
    return (*(_library(entry) for entry in vendored()), _text("report.js"))


def _library(entry: Mapping[str, str]) -> str:
    """A library with its licence above it, as its licence asks."""
    code = VENDOR.joinpath(entry["file"]).read_text(encoding="utf-8")
    licence = VENDOR.joinpath(entry["licence_file"]).read_text(encoding="utf-8")
    if entry["name"] == "vega-interpreter":
        code = _as_classic(code)
    return f"/*! {entry['name']} {entry['version']}\n\n{licence}*/\n{_MAP.sub('', code).strip()}\n"


def _as_classic(code: str) -> str:
    """A module of Vega's as a plain script: it takes from and adds to ``vega``."""
    code = _IMPORT.sub(r"const {\1} = globalThis.vega;", code)
    code = _EXPORT.sub(r"globalThis.vegaInterpreter = {\2: \1};", code)
    return f"(() => {{\n{code}\n}})();"


def policy(inline: Sequence[str]) -> str:
    """A content security policy that allows these scripts, by hash, and inline styles."""
    allowed = " ".join(f"'sha256-{_hash(code)}'" for code in inline)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(code: str) -> str:
    return base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()


def data_block(value: Any) -> str:
    """JSON that can stand in a script element: it cannot end it or open a comment."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text(name: str) -> str:
    return FOLDER.joinpath(name).read_text(encoding="utf-8")

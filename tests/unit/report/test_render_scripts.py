"""The page's scripts: the bytes that are written down, and a policy that allows no others."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from ratchet.report.render import VENDOR, content_policy, data_block, page_scripts, vendored_scripts


def files_of(entry):
    return VENDOR.joinpath(entry["file"]).read_bytes()


@pytest.mark.parametrize("entry", vendored_scripts(), ids=lambda entry: entry["name"])
def test_libraries_have_the_bytes_that_are_written_down(entry):
    assert hashlib.sha256(files_of(entry)).hexdigest() == entry["sha256"]
    licence = VENDOR.joinpath(entry["licence_file"]).read_text()
    assert "Copyright" in licence and "*/" not in licence
    assert f"@{entry['version']}: " in entry["source"]


def test_nothing_else_lies_beside_them():
    known = {name for e in vendored_scripts() for name in (e["file"], e["licence_file"])}
    assert {path.name for path in VENDOR.iterdir()} == {*known, "vendored.json"}


def test_scripts_can_stand_between_tags():
    found = page_scripts()
    assert len(found) == len(vendored_scripts()) + 1
    for code in found:
        assert "</script" not in code.lower() and "<!--" not in code
        assert "\r" not in code and "\0" not in code and "sourceMappingURL" not in code
    for entry, code in zip(vendored_scripts(), found, strict=False):
        assert code.startswith(f"/*! {entry['name']} {entry['version']}\n\n")
        assert "Copyright" in code[:400]


def test_modules_become_plain_scripts():
    code = page_scripts()[1]
    assert not re.search(r"^(import|export)\b", code, re.MULTILINE)
    assert "= globalThis.vega;" in code and "globalThis.vegaInterpreter = {" in code


def test_our_own_script_evaluates_nothing_and_sets_text_only():
    own = page_scripts()[-1]
    for word in (
        "eval(",
        "Function(",
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
    ):
        assert word not in own


def test_the_policy_names_each_script_and_nothing_more():
    policy = content_policy(("one", "zwei ü"))
    digest = base64.b64encode(hashlib.sha256("zwei ü".encode()).digest()).decode()
    allowed = re.search(r"script-src ([^;]*);", policy)[1].split(" ")
    assert len(allowed) == 2 and allowed[1] == f"'sha256-{digest}'"
    assert policy.startswith("default-src 'none'; ") and "eval" not in policy


def test_data_cannot_end_its_element():
    hostile = {"a": "</script><!--<script>\u2028 & ü", "b": None}
    block = data_block(hostile)
    assert "<" not in block and ">" not in block and block.isascii()
    assert json.loads(block) == hostile

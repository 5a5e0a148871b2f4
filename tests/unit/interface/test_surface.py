"""The interface for Python: its names, signatures and columns change on purpose only."""

import difflib
import inspect
import sys
from collections.abc import Iterator

import pytest

import ratchet
from helpers import DATA
from helpers.commands import printed
from ratchet.base.structs import Frozen
from ratchet.interface.frames import Items, Named, Numbered, columns
from ratchet.interface.sessions import Belief, Curves, GainInterval, Runs, SampledRuns
from ratchet.proposers.landscape import Constant
from ratchet.records.records import Contribution
from ratchet.records.series import CurvePoint, Sample

SURFACE = DATA / "interface.txt"
COLLECTIONS = (Items, Named, Numbered, Runs, Curves, SampledRuns)
OTHERS = (Belief, Constant, Contribution, CurvePoint, GainInterval, Sample)


def surface() -> Iterator[str]:
    """A line for each public name: functions with arguments, fields with the types of columns."""
    for name in ratchet.__all__:
        each = getattr(ratchet, name)
        if not inspect.isclass(each):
            yield f"{name}{inspect.signature(each)}"
    for kind in COLLECTIONS:
        signature = inspect.signature(kind.frame)
        yield f"{kind.__name__}.frame{signature}, by {kind.index_column}"
    kinds = [each for name in ratchet.__all__ if inspect.isclass(each := getattr(ratchet, name))]
    for kind in (*kinds, *OTHERS):
        assert issubclass(kind, Frozen)
        types = columns(kind)
        for name in kind.__struct_fields__:
            if name.startswith("_"):
                continue
            yield f"{kind.__name__}.{name}: {types.get(name, 'not in frames')}"
        for name, member in vars(kind).items():
            if name.startswith("_") or name in kind.__struct_fields__:
                continue
            if inspect.isfunction(member):
                yield f"{kind.__name__}.{name}{inspect.signature(member)}"
            else:
                getter = getattr(member, "fget", None) or member.func
                yield f"{kind.__name__}.{name}: {getter.__annotations__['return']}"


def test_the_surface_is_as_it_was() -> None:
    found, known = list(surface()), SURFACE.read_text("utf-8").splitlines()
    changes = "\n".join(difflib.unified_diff(known, found, lineterm="", n=0))
    told = f"what scripts of others rely on has changed; if on purpose, {SURFACE.name} too:"
    assert found == known, f"{told}\n{changes}"


def test_every_public_name_says_what_it_is() -> None:
    for name in ratchet.__all__:
        each = getattr(ratchet, name)
        assert (each.__doc__ or "").strip(), name
        members = vars(each).items() if inspect.isclass(each) else ()
        for own, member in members:
            if not own.startswith("_") and (inspect.isfunction(member) or hasattr(member, "func")):
                assert inspect.getdoc(getattr(each, own)), f"{name}.{own}"
    assert set(ratchet.__all__) <= set(dir(ratchet))
    with pytest.raises(AttributeError, match="has no attribute 'open_sesame'"):
        _ = ratchet.open_sesame


def test_importing_the_package_loads_nothing() -> None:
    code = "import ratchet, sys; print(*sorted(n for n in sys.modules if 'ratchet' in n))"
    assert printed([sys.executable, "-c", code]).strip() == "ratchet"
    code = "import sys, ratchet; ratchet.open_session; print({'pandas', 'optuna'} & {*sys.modules})"
    assert printed([sys.executable, "-c", code]).strip() == "set()"

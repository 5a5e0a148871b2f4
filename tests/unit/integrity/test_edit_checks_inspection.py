"""What is found in an edit before it is run: here, that the seed cannot reach it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ratchet.integrity.edit_checks import inspect_proposal
from ratchet.task.task import Seeding

BASE = "SEED = 1\nRATE = 0.1\n"


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (BASE.replace("0.1", "0.2"), ""),
        (BASE.replace("SEED = 1", "SEED = 2").replace("0.1", "0.2"), ""),
        (BASE.replace("SEED = 1\n", ""), "no longer sets SEED, by which the harness"),
        (BASE.replace("SEED = 1", "SEED = int(7)"), "no longer sets SEED"),
        (BASE + "SEED = 3\n", "no longer sets SEED"),
    ],
)
def test_an_edit_that_gives_up_the_seeds_constant_is_not_run(text: str, refused: str) -> None:
    texts = {"base": BASE, "new": text}
    session = SimpleNamespace(
        task=SimpleNamespace(
            mutable=["train.py"],
            fixed=[],
            metric=SimpleNamespace(name="val"),
            printed=(),
            seeding=Seeding(constant="SEED"),
        ),
        manifest=SimpleNamespace(baseline=[SimpleNamespace(path="train.py", sha256="base")]),
        texts=lambda sources: {name: texts[sha] for name, sha in sources.items()},
        state=lambda _: SimpleNamespace(incumbent=SimpleNamespace(files={"train.py": "base"})),
    )
    proposal = SimpleNamespace(files={"train.py": "new"}, notes=(), round=1)
    found, _ = inspect_proposal(session, proposal)  # type: ignore[arg-type]
    assert found.startswith(refused) if refused else found == ""

"""Cheats with data: what a run may read, what it may change, what it may leave behind."""

import socket
import textwrap
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from helpers.candidates import (
    FIRST,
    KINDS,
    Arena,
    Attempt,
    apart,
    asking,
    before,
    edited,
    ending,
    hidden,
    needs,
)
from ratchet.base.errors import StoreError
from ratchet.base.io import digest_file
from ratchet.records.records import Outcome
from ratchet.runs.sandbox.sandbox import SandboxKind, mounts_inputs

HELPERS = """
    import os, sys
    from pathlib import Path

    def siblings():
        # Under bubblewrap the parent is a process of the sandbox.
        parent = os.getppid()
        pids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [Path("/proc") / pid for pid in pids if int(pid) != os.getpid()]

    def evaluators():
        found = [p for p in siblings() if b"evaluator.py" in (p / "cmdline").read_bytes()]
        if not found:
            raise FileNotFoundError("there is no evaluator")
        return found
"""


def trying(attempts: Mapping[str, str]) -> str:
    """A candidate that tries things before it is trained, and says what came of each."""
    code = HELPERS
    for name, lines in attempts.items():
        code += (
            f"\n    try:\n{textwrap.indent(lines.strip(), ' ' * 8)}\n"
            f"        print('REACHED', {name!r})\n"
            "    except (OSError, StopIteration) as error:\n"
            f"        print('REFUSED', {name!r}, type(error).__name__)\n"
        )
    return before(FIRST, code)


def reached(attempt: Attempt, attempts: Mapping[str, str]) -> list[str]:
    """What was not refused; each must have been tried."""
    ended = {name: f"REACHED {name}" in attempt.log for name in attempts}
    tried = [name for name in attempts if ended[name] or f"REFUSED {name}" in attempt.log]
    assert tried == list(attempts), attempt.log
    return [name for name, done in ended.items() if done]


# Each ends with an error where it is refused; {blob} is the validation data in the store.
READS = {
    "of the machine's passwords": 'Path("/etc/shadow").read_bytes()',
    "of the home of root": 'Path("/root/.bashrc").read_bytes()',
    "from the store": "assert len(Path({blob!r}).read_bytes()) > 300_000",
    "by searching the store": "own = Path.cwd()\nfound = [p for p in Path({store!r}).rglob('*')]\n"
    "next(p for p in found if own not in p.parents and p.is_file() and p.read_bytes())",
    "from the installed packages": 'import importlib.util\nfor name in ("docutils", "networkx"):\n'
    "    spec = importlib.util.find_spec(name)\n"
    "    if spec is None or spec.origin is None:\n"
    "        raise FileNotFoundError(name)\n    "
    '(Path(spec.origin).parent / "nodes.py").read_bytes()',
    "from the evaluator's environment": '(evaluators()[0] / "environ").read_bytes()',
    "from the evaluator's memory": 'with (evaluators()[0] / "mem").open("rb", 0) as memory:\n'
    '    lines = (evaluators()[0] / "maps").read_text().splitlines()\n'
    '    memory.seek(int(lines[0].split("-")[0], 16))\n    assert memory.read(16)',
    "from the evaluator's descriptors": 'os.listdir(evaluators()[0] / "fd")\n'
    'os.open(evaluators()[0] / "fd" / "1", os.O_WRONLY)',
    "from the evaluator's folder": 'os.listdir(evaluators()[0] / "cwd")',
    "by taking a descriptor over": "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    "pid = int(evaluators()[0].name)\nif libc.syscall(438, os.pidfd_open(pid), 1, 0) < 0:\n"
    "    raise PermissionError(ctypes.get_errno())",
    "from a server": "import socket\n"
    "socket.create_connection(('127.0.0.1', {port}), 5).sendall(b'weights?')",
    "by tracing it": "import ctypes\npid = int(evaluators()[0].name)\n"
    "if ctypes.CDLL(None).ptrace(16, pid, None, None) < 0:\n    raise PermissionError(pid)",
}


WRITES = {
    "the stored data": 'os.chmod({blob!r}, 0o644)\nopen({blob!r}, "r+b").write(bytes(9))',
    "the results": 'open({results!r}, "w").write("better")',
    "a finished run": 'open({run!r}, "w").write("better")',
    "the evaluator's file": 'open(evaluators()[0] / "cwd" / "evaluator.py", "a").write("#")',
    "the installed packages": 'open(sys.prefix + "/bin/python-better", "x").close()',
    "the evaluator's result": 'os.write(os.open(evaluators()[0] / "fd" / "1", os.O_WRONLY), '
    'b\'{{"event": "asked"}}\\n\')',
    "the supervisor's answer": 'os.write(os.open(f"/proc/{{os.getppid()}}/fd/1", os.O_WRONLY), '
    "b'{{}}\\n')",
}


@apart
def test_nothing_that_is_not_its_own_can_be_read_or_rewritten(
    arena: Arena, kind: SandboxKind
) -> None:
    sha = arena.data["val.bin"]
    blob = arena.store.path(sha)
    results, run = arena.root / "results.tsv", arena.root / "store" / "run.json"
    for path in (results, run):
        path.write_text("honest")
    places = {"blob": blob, "store": arena.root / "store", "results": results, "run": run}
    with socket.create_server(("127.0.0.1", 0)) as server:
        texts = {name: str(path) for name, path in places.items()}
        texts["port"] = str(server.getsockname()[1])
        tries = {name: lines.format(**texts) for name, lines in (READS | WRITES).items()}
        attempt = arena.attempt(trying(tries), kind)
        server.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert attempt.value == arena.honest(kind)
    # In its own empty /tmp a run may write names, which nobody sees.
    allowed = set(WRITES) if mounts_inputs(kind) else set()
    assert set(reached(attempt, tries)) <= allowed
    assert digest_file(blob) == sha
    assert results.read_text() == run.read_text() == "honest"


def test_without_isolation_a_changed_store_is_noticed_before_the_next_run(arena: Arena) -> None:
    sha = arena.data["val.bin"]
    path = arena.store.path(sha)
    content = path.read_bytes()
    try:
        lines = WRITES["the stored data"].format(blob=str(path))
        attempt = arena.attempt(trying({"write": lines}))
        assert "REACHED write" in attempt.log
        with pytest.raises(StoreError, match="a stored input is damaged"):
            arena.store.path(sha)
    finally:
        path.write_bytes(content)


EDIT = """    import os
    os.chmod("prepare.py", 0o644)
    with open("prepare.py", "a") as file:
        file.write("\\n\\ndef evaluate_bpb(predict): return 0.5\\n")
"""
RELOAD = """    import importlib, prepare
    globals()["evaluate_bpb"] = importlib.reload(prepare).evaluate_bpb
"""
RESTORE = """    text = open("prepare.py").read()
    open("prepare.py", "w").write(text[:text.rindex("\\n\\ndef evaluate_bpb")])
"""

APPEND = 'os.chmod("data/train.bin", 0o644)\nopen("data/train.bin", "ab").write(b"x")'
# What a run says of an edit of a fixed file; where it is mounted it cannot be made.
EDITS = {
    "of prepare.py": (
        asking(EDIT + RELOAD, "evaluate_bpb(model.predict)"),
        r"changed the fixed file prepare\.py while it ran",
    ),
    "of prepare.py, and back": (
        asking(EDIT + RELOAD + RESTORE, "evaluate_bpb(model.predict)"),
        "printed val_bpb without an evaluation",
    ),
    "of the training data": (trying({"append": APPEND}), r"changed the fixed file data/train\.bin"),
}


TRIED = [
    *((name, SandboxKind.NONE) for name in EDITS),
    pytest.param("of prepare.py", SandboxKind.LANDLOCK, marks=needs(SandboxKind.LANDLOCK)),
    *(pytest.param("of the training data", kind, marks=needs(kind)) for kind in KINDS),
]


@pytest.mark.parametrize(("name", "kind"), TRIED)
def test_an_edit_of_a_fixed_file_wins_nothing(arena: Arena, name: str, kind: SandboxKind) -> None:
    source, words = EDITS[name]
    attempt = arena.attempt(source, kind)
    assert attempt.blocked == ({"evaluator"} if "prepare" in name else set())
    if not mounts_inputs(kind):
        attempt.assert_ends(Outcome.TAMPERED, words)
    elif "prepare" in name:
        attempt.assert_ends(Outcome.CRASH, "Read-only file system|Operation not permitted")
    else:
        assert "REFUSED" in attempt.log
        assert attempt.value == arena.honest(kind)


def test_the_validation_split_is_not_there(arena: Arena) -> None:
    source = edited('    data = load_split("train")\n', '    data = load_split("val")\n')
    arena.attempt(source).assert_ends(Outcome.CRASH, r"val\.bin: not found")
    arena.attempt(
        hidden('SPLIT = "val"', edited('load_split("train")', "load_split(SPLIT)"))
    ).assert_ends(Outcome.CRASH, r"val\.bin: not found")


FILES = {
    "a pipe": "os.mkfifo(name)",
    "endless zeros": 'os.symlink("/dev/zero", name)',
    "a folder": "os.mkdir(name)",
    "nothing": "pass",
}


@pytest.mark.parametrize("name", FILES)
def test_a_fixed_file_that_became_something_else_is_caught(arena: Arena, name: str) -> None:
    """What is hashed after a run must not hold the harness up."""
    lines = f'    import os\n    name = "prepare.py"\n    os.remove(name)\n    {FILES[name]}\n'
    arena.attempt(ending(lines)).assert_ends(
        Outcome.TAMPERED, r"changed the fixed file prepare\.py"
    )


LEFT = {
    "in the temporary folder": 'path = Path("/tmp") / NAME',
    "in the home folder": "path = Path.home() / NAME",
    "in the run's own folder": "path = Path(NAME)",
    "beside the run's folder": 'path = Path("..") / NAME',
    "in memory": 'path = Path("/dev/shm") / NAME',
}
LEAVE = "\nprint('FOUND' if path.exists() else 'NOTHING')\npath.write_text('weights')"


def left(arena: Arena, places: Mapping[str, str], kind: SandboxKind) -> str:
    """What a second run finds of a first one."""
    name = f"ratchet-{uuid.uuid4().hex}"
    # Some places may be one and the same.
    named = {place: repr(f"{name}-{i}") for i, place in enumerate(places)}
    source = trying({k: lines.replace("NAME", named[k]) + LEAVE for k, lines in places.items()})
    try:
        arena.attempt(source, kind)
        return arena.attempt(source, kind).log
    finally:
        for folder in ("/tmp", "/dev/shm"):
            for path in Path(folder).glob(f"{name}*"):
                path.unlink()


@apart
def test_no_run_finds_what_another_left(arena: Arena, kind: SandboxKind) -> None:
    assert "FOUND" not in left(arena, LEFT, kind)

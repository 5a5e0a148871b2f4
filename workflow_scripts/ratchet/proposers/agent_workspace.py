"""Folder that an agent works in: laid out, and read back as somebody else's data.

It lies in the temporary folder of the machine, far from the session's records
and from the user's checkout, and has a git repository of its own, so that an
agent that looks for one finds this.  What is found in it afterwards is not
trusted: links are not followed, sizes are bounded, nothing is run.
"""

import errno
import itertools
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from ratchet.base.errors import ConfigError, StoreError
from ratchet.base.git import call_git
from ratchet.base.io import digest_bytes, remove_run_folder
from ratchet.base.structs import Frozen
from ratchet.base.text import one_line, shorten
from ratchet.proposers.agent_process import LITTER, PROPOSAL
from ratchet.proposers.idea import same_sources
from ratchet.records.proposals import CallOutcome
from ratchet.steering.categories import category_of_code, classify_change
from ratchet.task.sources import MOST_BYTES, text_fault

BRIEF = "BRIEF.md"
TRIED = "TRIED.tsv"
UNTRUSTED = "untrusted"
EARLIER = "EARLIER.diff"

PAPERS = (BRIEF, TRIED, EARLIER, PROPOSAL, UNTRUSTED)
"""Names in the folder that no file of a task may have."""

PROPOSAL_LIMIT_BYTES = 1 << 16

MOST_FILES = 10_000
"""Files that are looked at; whoever leaves more has left something forbidden."""

# Made by tools that merely look at the code.
CACHES = ("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".ipynb_checkpoints")


def check_file_names(names: Sequence[str], where: str) -> None:
    """Raise :class:`ConfigError` if a task's file has the name of one that agents get."""
    for name in names:
        if PurePosixPath(name).parts[0] in PAPERS:
            raise ConfigError(
                f"{where}: the file {name} has a name that agents need for something else "
                f"({', '.join(PAPERS)}); rename it, or use the proposer declared"
            )


class UnreadableError(Exception):
    """Why a file that an agent left is not read; internal to proposers."""


class Left(Frozen):
    """Files that an agent left, what is wrong with them, and what else changed.

    ``contents`` are the mutable files, ``problems`` say which of them cannot be
    read, ``proposal`` is ``None`` if there is none.  ``others`` are files that it
    had no business with.
    """

    contents: Mapping[str, bytes]
    problems: tuple[str, ...]
    proposal: bytes | None
    others: tuple[str, ...]


class Workplace:
    """One agent's folder, from :meth:`lay_out` to :meth:`clear`."""

    def __init__(self, session_folder: Path, slot: int = 0) -> None:
        """A folder of its own for each session and slot; the same one at each call."""
        token = digest_bytes(os.fsencode(session_folder.resolve()))[:12]
        name = f"ratchet-agent-{os.getuid()}-{token}-{slot}"
        self.root = Path(tempfile.gettempdir()) / name
        self.work = self.root / "work"
        self.prompt = self.root / "PROMPT.md"
        self._given: dict[str, str] = {}
        self._begun: dict[str, bytes] = {}

    def clear(self) -> None:
        """Remove the folder, and what a killed session left of it.

        Raises :class:`StoreError` if it belongs to somebody else.
        """
        try:
            found = self.root.lstat()
        except FileNotFoundError:
            return
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise StoreError(
                f"{self.root}: is in the way of the agent's folder and belongs to somebody else; "
                "remove it, or set TMPDIR to a folder of your own"
            )
        remove_run_folder(self.root)

    def lay_out(
        self,
        mutable: Mapping[str, bytes],
        readable: Mapping[str, bytes],
        prompt: str,
        kept: Mapping[str, bytes] | None = None,
    ) -> None:
        """Fill the folder; ``readable`` files are there to be read, not changed.

        ``kept`` are files that an agent wrote when it was asked before: `git diff` shows
        them as its edit.
        """
        self.clear()
        self.root.mkdir(mode=0o700)
        self.work.mkdir()
        self.prompt.write_text(prompt, encoding="utf-8")
        for name, content in {**readable, **mutable}.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o644 if name in mutable else 0o444)
        self._given = {name: digest_bytes(content) for name, content in readable.items()}
        self._begun = {**mutable, **(kept or {})}
        self._commit()
        for name, content in (kept or {}).items():
            (self.work / name).write_bytes(content)

    def _commit(self) -> None:
        """Make the folder a repository with one commit, so that `git diff` shows the edit."""
        who = {"NAME": "Ratchet", "EMAIL": "ratchet@localhost", "DATE": "946684800 +0000"}
        roles = ("AUTHOR", "COMMITTER")
        variables = {f"GIT_{role}_{key}": value for role in roles for key, value in who.items()}
        for words in (
            ["init", "--quiet", "--initial-branch=main", "--template="],
            ["add", "--force", "--all"],
            ["commit", "--quiet", "--no-verify", "--message=as given"],
        ):
            call_git(*words, within=self.work, variables=variables).check_returncode()

    def read(self, mutable: Sequence[str]) -> Left:
        """Read the folder once the agent and all that it started have ended."""
        contents, problems = {}, []
        for name in mutable:
            try:
                content = self._file(name, MOST_BYTES)
                if content is None:
                    raise UnreadableError("is gone")
                content.decode("utf-8")
                contents[name] = content
            except UnreadableError as error:
                problems.append(f"{name} {error}")
            except UnicodeDecodeError as error:
                problems.append(f"{name} is not UTF-8 text (byte {error.start})")
        proposal = None
        try:
            proposal = self._file(PROPOSAL, PROPOSAL_LIMIT_BYTES)
        except UnreadableError as error:
            problems.append(f"{PROPOSAL} {error}")
        others = tuple(sorted(self._others({*mutable, PROPOSAL})))
        return Left(contents, tuple(problems), proposal, others)

    def finished(self) -> str | None:
        """Digest of an edit with its statement while the agent works; ``None`` before both.

        What it began with is not finished yet, though it is an earlier attempt's.
        """
        names = dict.fromkeys((*self._begun, PROPOSAL))
        try:
            found = {name: self._file(name, MOST_BYTES) or b"" for name in names}
            parse_statement(found[PROPOSAL])
        except (UnreadableError, ValueError):
            return None
        begun = self._begun
        compared = found if PROPOSAL in begun else {name: found[name] for name in begun}
        return None if compared == begun else digest_bytes(b"\0".join(found.values()))

    def is_untouched(self, left: Left) -> bool:
        """Whether an agent left nothing: no edit, no proposal, no other file."""
        said = {PROPOSAL: left.proposal} if (left.proposal or b"").strip() else {}
        return not (left.problems or left.others) and {**left.contents, **said} == self._begun

    def _others(self, allowed: set[str]) -> Iterator[str]:
        """Files that were changed, added or removed though they should not have been."""
        missing = dict(self._given)
        try:
            for name in self._names():
                given = missing.pop(name, None)
                if name in allowed or (given is not None and self._digest(name) == given):
                    continue
                # A name may hold any bytes.
                shown = one_line(name.encode("utf-8", errors="replace").decode())
                yield f"{shown} ({'added' if given is None else 'changed'})"
        except UnreadableError as error:
            yield f"{error}"
        else:
            yield from (f"{name} (removed)" for name in missing)

    def _names(self) -> Iterator[str]:
        """Names of the folder's files, without repository, caches and litter.

        Raises :class:`UnreadableError` for a folder that nobody can look through.
        """
        if self.work.is_symlink():
            raise UnreadableError("the folder itself (replaced)")
        todo, left = [PurePosixPath()], MOST_FILES
        while todo:
            here = todo.pop()
            try:
                with os.scandir(self.work / here) as entries:
                    found = list(itertools.islice(entries, left))
            except OSError as error:
                raise UnreadableError(
                    f"a folder that cannot be opened ({error.strerror})"
                ) from None
            left -= len(found)
            if left <= 0:
                raise UnreadableError(f"more than {MOST_FILES} files or folders (added)")
            for entry in sorted(found, key=lambda entry: entry.name):
                litter = any(fnmatch(entry.name, pattern) for pattern in (".git", *LITTER))
                if here == PurePosixPath() and litter:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    todo += [] if entry.name in CACHES else [here / entry.name]
                elif not entry.name.endswith(".pyc"):
                    yield (here / entry.name).as_posix()

    def _digest(self, name: str) -> str | None:
        try:
            content = self._file(name, 64 * MOST_BYTES)
        except UnreadableError:
            return None
        return None if content is None else digest_bytes(content)

    def _file(self, name: str, limit: int) -> bytes | None:
        """Content of a plain file, no link followed on the way; ``None`` if there is none.

        Raises :class:`UnreadableError` for anything else.
        """
        *folders, last = PurePosixPath(name).parts
        handles: list[int] = []
        try:
            handles.append(_open(self.work, os.O_DIRECTORY, None))
            for folder in folders:
                handles.append(_open(folder, os.O_DIRECTORY, handles[-1]))
            # A pipe without a writer must not be waited for.
            handles.append(_open(last, os.O_NONBLOCK, handles[-1]))
            found = os.fstat(handles[-1])
            if not stat.S_ISREG(found.st_mode):
                raise UnreadableError("is no plain file")
            if found.st_size > limit:
                raise UnreadableError(f"is larger than {limit} bytes")
            with os.fdopen(os.dup(handles[-1]), "rb") as stream:
                return stream.read(limit)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnreadableError(f"cannot be read ({error.strerror})") from None
        finally:
            for handle in handles:
                os.close(handle)


def _open(name: str | Path, flags: int, folder: int | None) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise UnreadableError("is a link or lies behind one") from None
        raise UnreadableError(f"cannot be opened ({error.strerror})") from None


# Characters; what is longer is cut, since it says no more.
DESCRIPTION_LIMIT = 160
HYPOTHESIS_LIMIT = 2000
EFFECT_LIMIT = 300

NAMED = 5
"""Files that a refusal names; whoever touched more knows what it is about."""


class Statement(Frozen):
    """The content of a ``proposal.json``, cleaned and cut."""

    description: str
    hypothesis: str
    category: str = ""
    expected_effect: str = ""


class AgentReply(Frozen):
    """One finished call: how it ended within its ``minutes``, what it used, what it left.

    ``files`` maps the mutable files that could be read to their digests in the
    store, ``problems`` say what could not be, ``others`` are files that the agent
    had no business with.  ``log`` is the digest of its output, ``proposal`` that of its
    ``proposal.json`` as it is.  ``limits`` names the session's limits under which it was
    asked; replies of earlier versions lack both.
    ``stopped_late`` tells of a tool that was ended after its proposal was finished.
    """

    exit_code: int
    timed_out: bool
    minutes: float
    log: str
    files: Mapping[str, str]
    problems: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    statement: Statement | None = None
    tokens: int | None = None
    dollars: float | None = None
    limits: str = ""
    stopped_late: bool = False
    proposal: str = ""


def parse_statement(data: bytes) -> Statement:
    """Read a ``proposal.json``; raises :class:`ValueError` with what is wrong with it."""
    try:
        found = json.loads(data.decode("utf-8"))
    except RecursionError:
        raise ValueError(f"{PROPOSAL} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{PROPOSAL} is not valid JSON ({one_line(str(error))[:100]})") from None
    if not isinstance(found, Mapping):
        raise ValueError(f"{PROPOSAL}: expected an object, found {type(found).__name__}")
    hypothesis = _text(found, "hypothesis", HYPOTHESIS_LIMIT)
    description = _text(found, "description", DESCRIPTION_LIMIT)
    for name, value in (("description", description), ("hypothesis", hypothesis)):
        if not value:
            raise ValueError(f"{PROPOSAL}: the text {name!r} is missing")
    effect = found.get("expected_effect")
    if isinstance(effect, int | float) and not isinstance(effect, bool):
        found = {**found, "expected_effect": f"{effect:g}" if abs(effect) < 1e300 else ""}
    return Statement(
        description,
        hypothesis,
        _text(found, "category", 60).lower(),
        _text(found, "expected_effect", EFFECT_LIMIT),
    )


def _text(values: Mapping[str, Any], name: str, limit: int) -> str:
    """One of the texts, on one line and without what no file can hold."""
    value = values.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{PROPOSAL}: expected a text for {name!r}, found {type(value).__name__}")
    line = one_line(value[: 4 * limit].encode("utf-8", errors="replace").decode())
    return shorten(line, limit)


def reply_fault(
    reply: AgentReply, old: Mapping[str, str], new: Mapping[str, str]
) -> tuple[CallOutcome, str] | None:
    """Why a reply cannot be tried, in one sentence for its author; ``None`` if it can.

    ``old`` are the incumbent's mutable files, ``new`` those of the reply that
    could be read.
    """
    # One that was finished counts, however long its agent stayed.
    is_whole = reply.statement is not None and not reply.problems and not same_sources(old, new)
    if reply.timed_out and not is_whole:
        return CallOutcome.TIMEOUT, f"it took more than {reply.minutes:g} minutes and was stopped"
    if reply.others:
        more = f" and {len(reply.others) - NAMED} more" if len(reply.others) > NAMED else ""
        named = ", ".join(reply.others[:NAMED])
        allowed = ", ".join(sorted(old))
        return (
            CallOutcome.FORBIDDEN,
            f"it touched {named}{more}; only {allowed} and {PROPOSAL} may be written",
        )
    if reply.problems:
        return CallOutcome.UNREADABLE, "; ".join(reply.problems[:NAMED])
    same = same_sources(old, new)
    if reply.statement is None:
        did = "without a change and" if same else "with a change but"
        return CallOutcome.NO_PROPOSAL, f"it {_ended(reply)} {did} without {PROPOSAL}"
    if same:
        how = "nothing but comments or layout" if dict(old) != dict(new) else "nothing"
        return CallOutcome.EMPTY, f"it changes {how} in {', '.join(sorted(old))}"
    for name, text in new.items():
        wrong = text_fault(name, text, old[name])
        if wrong is not None:
            return CallOutcome.UNREADABLE, f"{name} {one_line(wrong)[:250]}"
    return None


def _ended(reply: AgentReply) -> str:
    if reply.exit_code < 0:
        return f"was ended by signal {-reply.exit_code}"
    return f"ended with status {reply.exit_code}"


def idea_category(
    said: Statement,
    old: Mapping[str, str],
    new: Mapping[str, str],
    known: Sequence[str],
    own: Mapping[str, str],
) -> tuple[str, tuple[str, ...]]:
    """The category of an idea, and a note where its author's word and its code differ.

    The author's word counts if it is one of ``known``: it knows what the change is
    for.  Otherwise the code and then the description decide.
    """
    if said.category not in known:
        return classify_change(said.description, old, new, own), ()
    done = category_of_code(old, new, own, said.category)
    if done is None or done == said.category:
        return said.category, ()
    return said.category, (f"proposed as {said.category}; what it changes looks like {done}",)

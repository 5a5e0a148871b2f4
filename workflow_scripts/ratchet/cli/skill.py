"""ratchet skill: give a coding agent the autoresearch skill.

    ratchet skill install                         # for claude, in this project
    ratchet skill install --target codex --user   # in all your projects
    ratchet skill install --dir ~/.cursor/skills  # for another tool
    ratchet skill install --print

The skill is a folder, autoresearch, with SKILL.md, references and scripts.  It
is copied to where the tool looks for skills.  A file there that was changed
since is replaced with --force alone.  --print writes SKILL.md to standard
output and copies nothing, for a tool that reads no skills.

Exit codes: 0 installed, or nothing to do; 64 usage, or a changed file is in the
way, 70 internal error, 74 cannot be written.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import ratchet
from ratchet.base.errors import UsageError
from ratchet.base.io import digest_bytes, write_bytes
from ratchet.base.structs import Frozen
from ratchet.base.text import one_line, plural
from ratchet.cli.main import CommandParser, OutputError, make_command, tell

NAME = "ratchet skill"
SKILL = "autoresearch"
SOURCE = Path(ratchet.__file__).resolve().parent / "skill"
SUMS = "SHA256SUMS"
"""Beside the files: what was installed, by which a later call knows what was changed since."""


class SkillFolders(Frozen):
    """Folders of skills of a tool: in a project, and below a user's home.

    ``variable`` names an environment variable with another ``home`` of the tool, and
    ``below_variable`` the folder in that.
    """

    project: str
    user: str
    variable: str = ""
    below_variable: str = ""

    def of_user(self) -> Path:
        moved = os.environ.get(self.variable) if self.variable else None
        return Path(moved, self.below_variable) if moved else Path.home() / self.user


# As their documentation of 2026 says; claude, gemini and opencode are asked by a test.
TARGETS = {
    "claude": SkillFolders(".claude/skills", ".claude/skills", "CLAUDE_CONFIG_DIR", "skills"),
    "codex": SkillFolders(".agents/skills", ".agents/skills"),
    "gemini": SkillFolders(".gemini/skills", ".gemini/skills"),
    "opencode": SkillFolders(
        ".opencode/skills", ".config/opencode/skills", "XDG_CONFIG_HOME", "opencode/skills"
    ),
}
DEFAULT = "claude"


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    commands = parser.add_subparsers(dest="action", metavar="install", required=True)
    about = "copy the skill where a tool looks for skills"
    add = commands.add_parser("install", help=about, description=about).add_argument
    add("--target", metavar="TOOL", help=f"{', '.join(TARGETS)} (default: {DEFAULT})")
    add("--user", action="store_true", help="for all your projects (default: for this folder)")
    add("--dir", type=Path, metavar="FOLDER", help="folder of skills of another tool")
    add("--force", action="store_true", help="also replace files that were changed")
    add("--print", action="store_true", help="SKILL.md to standard output; copy nothing")
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    if options.print:
        print((SOURCE / "SKILL.md").read_text(), end="")
        tell(NAME, f"what it names is in {SOURCE}")
        return 0
    folder = _skills_folder(options) / SKILL
    written = install(folder, options.force)
    print(folder)
    if not written:
        tell(NAME, f"{folder} is up to date")
        return 0
    tell(NAME, f"wrote {plural(written, 'file')} to {folder}")
    tell(NAME, _next_step("your agent" if options.dir else options.target or DEFAULT))
    return 0


def _skills_folder(options: argparse.Namespace) -> Path:
    if options.dir is not None:
        if options.target or options.user:
            raise UsageError("--dir names the folder itself: leave out --target and --user")
        return Path(options.dir)
    target = options.target or DEFAULT
    if target not in TARGETS:
        raise UsageError(
            f"--target: expected one of {', '.join(TARGETS)}, found {one_line(target)!r:.40}; for "
            "another tool name its folder of skills with --dir, or print SKILL.md with --print"
        )
    folders = TARGETS[target]
    return folders.of_user() if options.user else Path(folders.project)


def _next_step(agent: str) -> str:
    """What to type after an installation; the scripts must find Ratchet's programs."""
    ready = shutil.which("ratchet") is not None
    activate = "" if ready else f"source {Path(sys.executable).parent / 'activate'}, then "
    return f"next: {activate}start {agent} and say: use the {SKILL} skill to check this setup"


def shipped_files() -> dict[str, Path]:
    """Files of the skill by their names in its folder."""
    found = sorted(path for path in SOURCE.rglob("*") if path.is_file())
    return {path.relative_to(SOURCE).as_posix(): path for path in found}


def install(folder: Path, force: bool) -> int:
    """Copy the skill to ``folder``; the number of files that were written.

    Nothing is written where a file was changed since it was installed, unless ``force``:
    that raises :class:`UsageError`, and :class:`OutputError` where writing fails.
    """
    contents = {name: path.read_bytes() for name, path in shipped_files().items()}
    sums = {name: digest_bytes(content) for name, content in contents.items()}
    listing = "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()
    try:
        here = {name: _content(folder / name) for name in (*sums, SUMS)}
        # As an earlier version left it.
        known = set((here[SUMS] or b"").decode(errors="replace").splitlines())
        written = [name for name in sums if here[name] != contents[name]]
        changed = [
            name
            for name in written
            if (found := here[name]) is not None and f"{digest_bytes(found)}  {name}" not in known
        ]
        if changed and not force:
            raise UsageError(
                f"{folder}: expected files as they were installed, found others: "
                f"{', '.join(changed)}; save what you need of them, then replace them with --force"
            )
        for name in written:
            write_bytes(folder / name, contents[name], 0o755 if name.endswith(".sh") else 0o644)
        if here[SUMS] != listing:
            write_bytes(folder / SUMS, listing)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return len(written)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


main = make_command(NAME, _parse, _run)

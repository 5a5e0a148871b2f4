"""ratchet restore: bring a session back from its mirror, to go on with it here.

    ratchet restore /mnt/disk/mirror
    ratchet restore s3://bucket/mirror night

Fetches a session, or all, with the runs and inputs that it needs, into results
and store of this folder.  Every digest is checked; what is damaged is named and
left out.  Then the usual command goes on, and no run is made twice.  A session
of the same name that is here already is never overwritten.  From then on the
mirror belongs to this copy: the other one is refused.

Exit codes: 0 all is here; 1 something was left out; 64 usage, 65 damaged, 66 no
such mirror or session, 70 internal error, 74 the mirror failed, 75 the session
may still run elsewhere.
"""

import argparse
import time
from collections.abc import Sequence

from ratchet.base.io import read_json
from ratchet.base.structs import asdict
from ratchet.base.terminal import signs_of_life
from ratchet.base.text import one_line, plural
from ratchet.cli.main import CommandParser, make_command, print_json, tell, tell_some
from ratchet.cli.sessions import add_root, bare_name, harness_folder
from ratchet.config import given_before, setting, workflow_command
from ratchet.mirror.restore import Restored, mirrored_sessions, restore_session
from ratchet.records.paths import SessionPaths

NAME = "ratchet restore"
EXIT_LEFT_OUT = 1


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add = parser.add_argument
    add("target", metavar="TARGET", help="folder or address of the mirror")
    add("session", nargs="?", type=bare_name, help="name of the session (default: every one)")
    add_root(parser)
    add(
        "--take-over",
        action="store_true",
        help="also where the session was mirrored a moment ago and may still run elsewhere",
    )
    add("--json", action="store_true", help="one JSON object instead of lines")
    return parser.parse_args(argv)


FAR_REACHING = ("notify_command", "agent_command", "isolation", "task")
"""Settings that say what runs here with the rights of whoever goes on with a session."""


def far_reaching(paths: SessionPaths) -> list[str]:
    """A sentence for each of a session's settings that has something else run here."""
    known = {**given_before(paths), **read_json(paths.manifest).get("frozen", {})}
    if (paths.root / str(known.get("task"))).is_dir():
        known.pop("task", None)
    return [
        f"{paths.session} goes on with {name}={one_line(setting(known[name])):.200}, as the "
        "mirror has it: see that it is yours"
        for name in FAR_REACHING
        if known.get(name) is not None
    ]


def _run(options: argparse.Namespace) -> int:
    root = options.root
    done: list[Restored] = []
    with signs_of_life(NAME, "fetching"):
        wanted = [options.session] if options.session else mirrored_sessions(options.target, root)
        for name in wanted:
            done.append(restore_session(options.target, name, root, time.time(), options.take_over))
    left = [line for each in done for line in each.left_out]
    if options.json:
        print_json({"sessions": [asdict(each) for each in done]})
    else:
        for each in done:
            paths = SessionPaths(each.session, root)
            again = workflow_command(paths, harness=harness_folder(root))
            state = "it is at its end" if each.finished else f"go on with: {again}"
            new = f"{plural(each.runs, 'run')} and {plural(each.blobs, 'input')} fetched"
            print(f"{each.session}: {new if each.files else 'is here already'}; {state}")
        # Whoever writes to a mirror can have written them.
        said = [line for each in done for line in far_reaching(SessionPaths(each.session, root))]
        tell_some(NAME, "note", said)
    tell_some(NAME, "note", [one_line(line) for line in left])
    if left:
        tell(NAME, f"{plural(len(left), 'thing')} left out; what can be is made again")
    return EXIT_LEFT_OUT if left else 0


main = make_command(NAME, _parse, _run)

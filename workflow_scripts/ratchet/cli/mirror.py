"""ratchet mirror: send a session to another place, from which it can go on.

    ratchet mirror night --to /mnt/disk/mirror
    ratchet mirror night --to user@host:mirror
    ratchet mirror night --to s3://bucket/mirror

Sends what the mirror does not have yet: the session's records and repository,
the secret that its seeds are drawn with, and the runs and inputs of the store
that its records name.  The setting `mirror` has that done while the session
runs.  A call that is broken off is made again and goes on.  Whoever reads the
mirror reads all data of the task; no login is sent.

Exit codes: 0 sent; 64 usage, 66 no such session or program, 70 internal error,
74 the mirror failed, 75 another copy of the session is mirrored there.
"""

import argparse
from collections.abc import Sequence

from ratchet.base.errors import UsageError
from ratchet.base.terminal import signs_of_life
from ratchet.base.text import plural
from ratchet.cli.main import CommandParser, make_command, print_json
from ratchet.cli.sessions import add_session, read_settings
from ratchet.mirror.mirror import Mirror, Sent
from ratchet.records.paths import SessionPaths

NAME = "ratchet mirror"


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(NAME, __doc__)
    add = parser.add_argument
    add_session(parser)
    add("--to", metavar="TARGET", help="folder or address (default: the setting `mirror`)")
    add(
        "--take-over",
        action="store_true",
        help="also where another copy of the session was mirrored so far",
    )
    add("--json", action="store_true", help="one JSON object instead of a line")
    return parser.parse_args(argv)


def _run(options: argparse.Namespace) -> int:
    named = [f"session={options.session}"] if options.session else []
    settings = read_settings(options.root, [*options.config, *named])
    address = options.to or settings.mirror
    if address is None:
        raise UsageError("expected where to send the session, found nothing; name it: --to TARGET")
    mirror = Mirror(address, SessionPaths(settings.session, options.root))
    with signs_of_life(NAME, "sending"):
        sent = mirror.push(options.take_over)
    if options.json:
        facts = {name: getattr(sent, name) for name in ("runs", "blobs", "files", "bytes")}
        print_json({"session": settings.session, "to": address, **facts})
    else:
        print(_words(sent, settings.session, address))
    return 0


def _words(sent: Sent, session: str, address: str) -> str:
    if not (sent.runs or sent.blobs or sent.files):
        return f"{session}: {address} has all of it ({plural(len(sent.index.runs), 'run')})"
    return (
        f"{session}: sent {plural(sent.runs, 'run')}, {plural(sent.blobs, 'input')} and "
        f"{plural(sent.files, 'part')} of its files, {sent.bytes / 1e6:.1f} MB"
    )


main = make_command(NAME, _parse, _run)

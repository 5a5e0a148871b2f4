"""Choice of the strongest sandbox that works here, and a command confined in it."""

import enum
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ratchet.base.errors import ConfigError
from ratchet.base.structs import Frozen
from ratchet.runs.sandbox.container import container_fault, container_mend, exchange_folder
from ratchet.runs.sandbox.landlock import restrict_process
from ratchet.runs.spec import Box

# A machine that takes longer to start one trivial command is no measure of anything.
PROBE_SECONDS = 20.0
# Of /etc: what the dynamic linker, locales, certificates and user names need, and
# no more (/etc/ssl/private, for one, holds keys that root can read).
ETC = [
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "timezone",
    "locale.alias",
    "alternatives",
    "passwd",
    "group",
    "nsswitch.conf",
    "host.conf",
    "hosts",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "pki/tls",
    "pki/ca-trust",
    "ca-certificates",
    "OpenCL",
    "vulkan",
]
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
# For code without a sandbox's own /dev; the last one holds semaphores of multiprocessing.
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/shm")


class SandboxKind(enum.StrEnum):
    """Kinds of sandbox; ``auto`` prefers the last.

    A container stops what bubblewrap stops, but starts slowly, from an image.
    """

    NONE = "none"
    LANDLOCK = "landlock"
    CONTAINER = "container"
    BUBBLEWRAP = "bubblewrap"


AUTO = "auto"
_MEND = {
    SandboxKind.BUBBLEWRAP: "install it with: apt-get install bubblewrap",
    SandboxKind.LANDLOCK: (
        "it needs Linux 5.13 or newer with landlock among /sys/kernel/security/lsm"
    ),
}


def choose_sandbox(wanted: str) -> SandboxKind:
    """The kind to use: for ``auto`` the strongest that works here.

    Raises :class:`ConfigError` if the wanted one does not.
    """
    if wanted == AUTO:
        if exchange_folder() is not None:
            # Whoever set up two containers wants them used.
            return choose_sandbox(SandboxKind.CONTAINER)
        return next(kind for kind in reversed(SandboxKind) if sandbox_fault(kind) is None)
    kind = SandboxKind(wanted)
    found = sandbox_fault(kind)
    if found is not None:
        mend = container_mend() if kind is SandboxKind.CONTAINER else _MEND[kind]
        raise ConfigError(
            f"isolation: {kind} does not work on this machine ({found}); {mend}, or set "
            "isolation to auto, which takes the strongest that works"
        )
    return kind


@functools.cache
def sandbox_fault(kind: SandboxKind) -> str | None:
    """Why a kind does not work here, found by running a trivial command under it.

    Of containers only engine and image are looked for.
    """
    if kind is SandboxKind.NONE:
        return None
    if kind is SandboxKind.CONTAINER:
        return container_fault()
    if kind is SandboxKind.BUBBLEWRAP and shutil.which("bwrap") is None:
        return "there is no program bwrap"
    with tempfile.TemporaryDirectory() as name:
        box = Box(work=Path(name).resolve())
        confined = confine_command(kind, box, ["/bin/sh", "-c", "exit 0"])
        try:
            done = subprocess.run(
                confined.command,
                cwd=name,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=PROBE_SECONDS,
                check=False,
                preexec_fn=confined.restrict,
            )
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return said[-1] if said else f"exit status {done.returncode}"
    return None


class ConfinedCommand(Frozen):
    """A command as it has to be started; its fields are part of the supervisor's order.

    ``wrapped`` tells that the first process is not the command itself.
    """

    command: Sequence[str]
    landlock: Mapping[str, Sequence[str]] | None = None
    network: bool = False
    wrapped: bool = False

    def restrict(self) -> None:
        """Confine the calling process before it becomes the command."""
        if self.landlock is not None:
            restrict_process(self.landlock, self.network)


def confine_command(kind: SandboxKind, box: Box, command: Sequence[str]) -> ConfinedCommand:
    """Command confined to a box; containers are started by ``container.order``."""
    if kind is SandboxKind.BUBBLEWRAP:
        program = shutil.which("bwrap") or "bwrap"
        wrapped = [program, *bubblewrap_arguments(box), "--", *command]
        return ConfinedCommand(wrapped, wrapped=True, network=box.network)
    if kind is SandboxKind.LANDLOCK:
        return ConfinedCommand(command, landlock_rules(box), box.network)
    return ConfinedCommand(command, network=True)


def bubblewrap_arguments(box: Box) -> list[str]:
    """Options of ``bwrap``: an allow-list of mounts on an empty root."""
    words = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if box.network:
        words.append("--share-net")
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run"]
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists():
            words += _bind("--ro-bind", path)
    for path in _system_pieces(box):
        words += _bind("--ro-bind-try", path)
    for path in _gpu_devices() if box.gpu else ():
        words += _bind("--dev-bind-try", path)
    for path in _readable(box):
        words += _bind("--ro-bind", path)
    for path in box.hidden:
        words += ["--tmpfs", str(path)] if path.is_dir() else _bind("--ro-bind", path, "/dev/null")
    words += _bind("--bind", box.work)
    for path in box.fixed:
        words += _bind("--ro-bind", path)
    for place, source in box.mounts.items():
        words += _bind("--ro-bind", place, str(source))
    return [*words, "--chdir", str(box.work)]


def _bind(option: str, place: Path, source: str | None = None) -> list[str]:
    return [option, source or str(place), str(place)]


def landlock_rules(box: Box) -> dict[str, list[str]]:
    """Paths by what is granted.  Fixed files stay writable: the hashes will tell."""
    read = [path for path in map(Path, SYSTEM) if path.exists()]
    read += [*_system_pieces(box), Path("/proc"), *_readable(box)]
    devices = [Path(name) for name in DEVICES] + (_gpu_devices() if box.gpu else [])
    hidden = {path.resolve() for path in box.hidden}
    granted: list[Path] = []
    listed: list[Path] = []
    for path in read:
        granted += _without(path, hidden, listed)
    return {
        "read": [str(path) for path in granted],
        "list": [str(path) for path in listed],
        "write": [str(path) for path in (*devices, box.work)],
    }


def _without(path: Path, hidden: set[Path], listed: list[Path]) -> Iterator[Path]:
    """``path`` in pieces that hold nothing hidden; folders that were split are ``listed``."""
    above = {parent for place in hidden for parent in place.parents}

    def pieces(path: Path, real: Path) -> Iterator[Path]:
        if real in hidden:
            return
        if real not in above:
            yield path
            return
        listed.append(path)
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                below = path / entry.name
                yield from pieces(
                    below, below.resolve() if entry.is_symlink() else real / entry.name
                )

    yield from pieces(path, path.resolve())


def _system_pieces(box: Box) -> list[Path]:
    found = [Path("/etc") / name for name in ETC]
    if box.network:
        found.append(Path("/etc/resolv.conf"))
    # The number of processors and their caches; a GPU is found below the whole of it.
    found.append(Path("/sys") if box.gpu else Path("/sys/devices/system"))
    return [path for path in found if path.exists()]


def _gpu_devices() -> list[Path]:
    return sorted(Path("/dev").glob("nvidia*"))


def _readable(box: Box) -> list[Path]:
    """The interpreter with its packages, and what the task needs beside it."""
    prefixes = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_exec_prefix)]
    executable = Path(os.path.realpath(sys.executable))
    prefixes += [prefix.resolve() for prefix in prefixes] + [executable.parent.parent]
    for entry in filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")):
        library = Path(entry)
        # A folder that holds the run holds others too, and a home holds everything.
        private = [box.work, Path.home()]
        if library.is_absolute() and not any(p.is_relative_to(library) for p in private):
            prefixes.append(library)
    found: list[Path] = []
    for path in prefixes:
        # An environment may have been made in the very folder that holds the runs.
        inner = [path / name for name in ("bin", "lib", "lib64", "include", "pyvenv.cfg")]
        found += inner if box.work.is_relative_to(path) else [path]
    known = [Path(name) for name in SYSTEM]
    return [
        path
        for path in dict.fromkeys([*found, *box.readable])
        if path.exists() and not any(path.is_relative_to(system) for system in known)
    ]

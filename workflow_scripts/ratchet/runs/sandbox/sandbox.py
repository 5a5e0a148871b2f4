"""Choice of the strongest sandbox that works here, and a command confined in it."""

import enum
import functools
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ratchet.base.errors import ConfigError
from ratchet.base.structs import Frozen, asdict
from ratchet.runs.process import confine_process, with_filter
from ratchet.runs.sandbox.container import (
    container_fault,
    container_mend,
    container_mounts_inputs,
    exchange_folder,
)
from ratchet.runs.sandbox.landlock import SCOPE_VERSION, landlock_version
from ratchet.runs.sandbox.namespaces import DEVICES, SHARED_MEMORY, Mount
from ratchet.runs.sandbox.seccomp import filter_program
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
# Bubblewrap's words for what ``namespaces.Mount`` names.
_OPTIONS = {
    "read": "--ro-bind",
    "try": "--ro-bind-try",
    "write": "--bind",
    "device": "--dev-bind-try",
    "link": "--symlink",
}


class SandboxKind(enum.StrEnum):
    """Kinds of isolation; ``auto`` prefers the last, and ``none`` is no sandbox.

    A container stops what bubblewrap stops, but starts slowly, from an image.
    """

    NONE = "none"
    LANDLOCK = "landlock"
    CONTAINER = "container"
    BUBBLEWRAP = "bubblewrap"


AUTO = "auto"
_NO_PROGRAM = "there is no program bwrap"
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


def stronger_advice(wanted: str, kind: SandboxKind) -> str | None:
    """How to get more than the kind that ``auto`` took; ``None`` where it took the strongest."""
    weaker = wanted == AUTO and kind is not SandboxKind.BUBBLEWRAP and exchange_folder() is None
    if not weaker:
        return None
    fault = sandbox_fault(SandboxKind.BUBBLEWRAP)
    more = _MEND[SandboxKind.BUBBLEWRAP] if fault == _NO_PROGRAM else f"it says: {fault}"
    return f"bubblewrap closes more; {more}"


def sandbox_holds(kind: SandboxKind, network: bool = False) -> str:
    """What a kind keeps from runs on this machine, and what it leaves them, in one line."""
    if kind is SandboxKind.NONE:
        return "no sandbox: a run has all rights of its user"
    filtered = bool(filter_program(os.uname().machine))
    bare = kind is SandboxKind.LANDLOCK and namespaces_fault() is not None
    closed = {"other files": True}
    if bare:
        closed |= {"names of other files": False, "sight of processes": False}
        closed |= {"signals": landlock_version() >= SCOPE_VERSION}
    else:
        closed |= {"processes": True}
    closed |= {"TCP" if bare and not filtered else "network": not network}
    closed |= {"sockets": filtered or not bare, "shared memory": filtered or not bare}
    closed |= {"keyrings": filtered, "limits of processes": filtered}
    closed |= {"the engine": False} if kind is SandboxKind.CONTAINER else {}
    held = ", ".join(name for name, shut in closed.items() if shut)
    left = ", ".join([*(name for name, shut in closed.items() if not shut), "the kernel"])
    why = f" (no namespaces: {namespaces_fault()})" if bare else ""
    return f"closed: {held}; open: {left}{why}"


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
        return _NO_PROGRAM
    if kind is SandboxKind.LANDLOCK and namespaces_fault() is None:
        return None
    return _start_fault(kind, False)


@functools.cache
def namespaces_fault() -> str | None:
    """Why Landlock gets no namespaces beside it here, found by making some."""
    return _start_fault(SandboxKind.LANDLOCK, True)


def _start_fault(kind: SandboxKind, namespaces: bool) -> str | None:
    """Why a trivial command cannot be started under a kind."""
    with tempfile.TemporaryDirectory() as name:
        box = Box(work=Path(name).resolve())
        confined = confine_command(kind, box, ["/bin/sh", "-c", "exit 0"], namespaces)
        order = {**asdict(confined), "folder": str(box.work)}

        def prepare() -> None:
            try:
                confine_process(order)
            except OSError as error:
                os.write(2, f"{error}".encode())
                os._exit(1)

        with with_filter(order) as (command, inherited):
            try:
                done = subprocess.run(
                    command,
                    cwd=name,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=PROBE_SECONDS,
                    check=False,
                    pass_fds=inherited,
                    preexec_fn=prepare,
                )
            except (OSError, subprocess.SubprocessError) as error:
                return str(error)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return said[-1] if said else f"exit status {done.returncode}"
    return None


class ConfinedCommand(Frozen):
    """A command as it has to be started; its fields are part of the supervisor's order.

    ``mounts`` are all that is seen, in namespaces of its own, and ``seccomp`` what the filter
    of system calls may let through.  ``wrapped`` tells that the first process is not the
    command itself; then ``devices`` are those that it shows, and ``scoped`` says that it shall
    reach no signals and abstract sockets outside.
    """

    command: Sequence[str]
    landlock: Mapping[str, Sequence[str]] | None = None
    mounts: Sequence[Mount] | None = None
    seccomp: Mapping[str, bool] | None = None
    network: bool = False
    wrapped: bool = False
    scoped: bool = False
    devices: Sequence[str] = ()


def confine_command(
    kind: SandboxKind, box: Box, command: Sequence[str], namespaces: bool | None = None
) -> ConfinedCommand:
    """Command confined to a box; containers are started by ``container.order``.

    ``namespaces`` says whether Landlock gets some; by itself where that works.
    """
    scopes = landlock_version() >= SCOPE_VERSION
    if kind is SandboxKind.BUBBLEWRAP:
        program = shutil.which("bwrap") or "bwrap"
        wrapped = [program, *bubblewrap_arguments(box), "--", *command]
        # A network that is shared has sockets without a file; what becomes root to make
        # namespaces must not be kept from anything before.
        simple = not _becomes_root(program)
        unix = not box.network or (simple and scopes)
        return ConfinedCommand(
            wrapped,
            seccomp={"unix": unix, "network": box.network, "private": True, "attributes": True},
            network=box.network,
            wrapped=True,
            scoped=box.network and simple,
            devices=_devices(box) if simple else [],
        )
    if kind is SandboxKind.LANDLOCK:
        if namespaces is None:
            namespaces = namespaces_fault() is None
        unix = namespaces and (scopes or not box.network)
        calls = {"unix": unix, "network": box.network}
        calls |= {"private": namespaces, "attributes": namespaces}
        return ConfinedCommand(
            command,
            landlock=mounted_rules(box) if namespaces else landlock_rules(box),
            mounts=mount_plan(box) if namespaces else None,
            seccomp=calls,
            network=box.network,
            wrapped=namespaces,
        )
    return ConfinedCommand(command, network=True)


def container_calls(box: Box) -> dict[str, bool]:
    """What the filter lets through in a container; one that stays is shared by later runs."""
    fresh = container_mounts_inputs()
    return {"unix": True, "network": box.network, "private": fresh, "attributes": True}


def mounts_inputs(kind: SandboxKind) -> bool:
    """Whether inputs are mounted, read-only, so that a run needs no copies."""
    if kind is SandboxKind.CONTAINER:
        return container_mounts_inputs()
    mounting = kind is SandboxKind.LANDLOCK and namespaces_fault() is None
    return mounting or kind is SandboxKind.BUBBLEWRAP


def _becomes_root(program: str) -> bool:
    try:
        return bool(Path(program).stat().st_mode & stat.S_ISUID)
    except OSError:
        return False


def bubblewrap_arguments(box: Box) -> list[str]:
    """Options of ``bwrap``: an allow-list of mounts on an empty root."""
    words = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if box.network:
        words.append("--share-net")
    for what, place, source in mount_plan(box):
        match what:
            case "processes":
                # Root could set the kernel's settings there, a program to run among them.
                words += ["--proc", place, "--remount-ro", place]
            case "devices":
                words += ["--dev", place]
            case "empty":
                words += ["--tmpfs", place]
            case _:
                words += [_OPTIONS[what], source, place]
    return [*words, "--chdir", str(box.work)]


def mount_plan(box: Box) -> list[Mount]:
    """All that a run sees, as mounts on an empty root, in their order."""
    plan: list[Mount] = [("processes", "/proc", "/proc"), ("devices", "/dev", "")]
    plan += [("empty", "/tmp", ""), ("empty", "/run", "")]
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            plan.append(("link", str(path), str(path.readlink())))
        elif path.exists():
            plan.append(_shown("read", path))
    plan += [_shown("try", path) for path in _system_pieces(box)]
    plan += [_shown("device", path) for path in (gpu_devices() if box.gpu else ())]
    plan += [_shown("read", path) for path in _readable(box)]
    for place in _resolved(box.hidden):
        plan.append(("empty", place, "") if os.path.isdir(place) else ("read", place, "/dev/null"))  # noqa: PTH112
    plan.append(_shown("write", box.work))
    plan += [_shown("read", path) for path in box.fixed]
    plan += [("read", str(place), os.path.realpath(path)) for place, path in box.mounts.items()]
    return plan


def _resolved(paths: Sequence[Path]) -> Iterator[str]:
    """Paths without links in them; hundreds lie in few folders, each of which is looked at once."""
    real = functools.cache(os.path.realpath)
    for path in paths:
        yield os.path.realpath(path) if path.is_symlink() else f"{real(path.parent)}/{path.name}"


def _shown(what: str, path: Path) -> Mount:
    # Links lead elsewhere once the root is another one.
    return what, str(path), os.path.realpath(path)


def mounted_rules(box: Box) -> dict[str, list[str]]:
    """Paths by what is granted where nothing but the mounts of a box is seen."""
    shared = [SHARED_MEMORY, "/tmp"]
    return {"read": ["/"], "write": [*_devices(box), *shared, str(box.work)]}


def _devices(box: Box) -> list[str]:
    return [*DEVICES, *(map(str, gpu_devices()) if box.gpu else ())]


def landlock_rules(box: Box) -> dict[str, list[str]]:
    """Paths by what is granted on the machine's own files, to a run without namespaces.

    Fixed files stay writable: the hashes will tell.
    """
    read = [path for path in map(Path, SYSTEM) if path.exists()]
    read += [*_system_pieces(box), Path("/proc"), *_readable(box)]
    hidden = set(map(Path, _resolved(box.hidden)))
    granted: list[Path] = []
    listed: list[Path] = []
    for path in read:
        granted += _without(path, hidden, listed)
    return {
        "read": [str(path) for path in granted],
        "list": [str(path) for path in listed],
        "write": [*_devices(box), str(box.work)],
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


def gpu_devices(folder: Path = Path("/dev")) -> list[Path]:
    """Device files of NVIDIA's driver, folders of them included."""
    return sorted(folder.glob("nvidia*"))


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

"""Whether this machine can go on with a session: the same hardware, the same packages."""

from __future__ import annotations

from ratchet import hardware
from ratchet.errors import FixedInputChangedError, OtherHardwareError
from ratchet.interpreters import Interpreter
from ratchet.records import Manifest


def check(manifest: Manifest, device: str, python: Interpreter | None) -> None:
    """Raise :class:`FixedInputChangedError` where new runs could not be compared.

    ``python`` is the task's own interpreter as it is now.
    """
    _check_hardware(manifest, device)
    _check_python(manifest, python)


def _check_hardware(manifest: Manifest, device: str) -> None:
    here = hardware.current(device, hardware.gpu_model(manifest.hardware))
    if here != manifest.hardware:
        raise OtherHardwareError(
            f"session {manifest.session!r} was started on "
            f"{hardware.describe(dict(manifest.hardware))}, this machine has "
            f"{hardware.describe(here)}; measurements of the two cannot be compared. Go on "
            "there, or start another session here: snakemake --cores 1 --config session=NAME"
        )


def _check_python(manifest: Manifest, python: Interpreter | None) -> None:
    frozen = manifest.python
    if frozen is None or (python is not None and python.packages_sha256 == frozen.packages_sha256):
        return
    place = python.executable if python else "the harness's own interpreter"
    raise FixedInputChangedError(
        f"session {manifest.session!r} was started with other packages for its task's runs than "
        f"{place} has now; put them back, name that environment again (--config python=PLACE), or "
        "start another session: snakemake --cores 1 --config session=NAME"
    )

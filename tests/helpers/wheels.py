"""Wheels that tests make themselves, so that no index is asked."""

import zipfile
from pathlib import Path


def wheel(folder: Path, name: str, version: str, needs: str = "", code: str = "SIZE = 3") -> Path:
    """A pure wheel of one module."""
    about = f"{name}-{version}.dist-info"
    need = f"Requires-Dist: {needs}\n" if needs else ""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as made:
        for place, text in (
            (f"{name}.py", f"{code}\n"),
            (
                f"{about}/METADATA",
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{need}",
            ),
            (f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
            (f"{about}/RECORD", ""),
        ):
            made.writestr(zipfile.ZipInfo(place), text)
    return path

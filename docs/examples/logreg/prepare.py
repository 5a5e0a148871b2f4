"""Fixed part of the task: the table of parts, how it is read, and the metric.

    python prepare.py               # writes data/parts.csv
    python prepare.py --out DIR     # the same, into DIR

3,000 parts of four materials.  Each was measured on one of five benches, and every bench
reports four properties in its own way; the cells of the other benches are empty.
``RATCHET_DATA`` is the folder of the data, default ``data`` beside this file.
"""

import argparse
import os
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
PARTS, MATERIALS, PROPERTIES = 3000, 4, 4
CONTRAST = 2.0  # distance of the materials' means, in sds of a property
VALIDATION = 1000


def as_it_is(values, _rng):
    return values


def microns(values, _rng):
    return 1000.0 * values


def decades(values, _rng):
    return 10.0**values


def either_sign(values, rng):
    return (values + 8.0) * rng.choice([-1.0, 1.0], size=values.shape)


def drifting(values, rng):
    drift = rng.normal(0.0, 100.0, size=values.shape)
    return np.hstack([values + drift, drift])


BENCHES = (as_it_is, microns, decades, either_sign, drifting)
"""What A to E make of the true values; E gives two readings of each."""


def build():
    """Material and cells of every part: 4 columns each of benches A to D, 8 of bench E."""
    rng = np.random.default_rng(298)
    material = rng.integers(0, MATERIALS, PARTS)
    bench = rng.integers(0, len(BENCHES), PARTS)
    columns = []
    for number, report in enumerate(BENCHES):
        means = rng.normal(size=(MATERIALS, PROPERTIES))
        means -= means.mean(axis=0)
        means *= CONTRAST / np.sqrt((means**2).mean())
        values = means[material] + rng.normal(size=(PARTS, PROPERTIES))
        columns.append(np.where((bench == number)[:, None], report(values, rng), np.nan))
    return material, np.hstack(columns)


def load():
    """Cells and materials of the parts to train on, and of those to validate on."""
    folder = Path(os.environ.get("RATCHET_DATA") or HERE / "data")
    table = np.genfromtxt(folder / "parts.csv", delimiter=",")
    cells, materials = table[:, 1:], table[:, 0].astype(int)
    held = slice(0, VALIDATION), slice(VALIDATION, None)
    return (cells[held[1]], materials[held[1]]), (cells[held[0]], materials[held[0]])


def accuracy(told, materials):
    """The metric: the share of parts whose material is told rightly."""
    return float((told == materials).mean())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=HERE / "data")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    material, cells = build()
    with (folder / "parts.csv").open("w") as table:
        for kind, row in zip(material, cells, strict=True):
            texts = ["" if np.isnan(cell) else f"{cell:.6g}" for cell in row]
            table.write(",".join([str(kind), *texts]) + "\n")


if __name__ == "__main__":
    main()

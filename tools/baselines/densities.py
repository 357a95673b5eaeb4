"""Measures a population of phantoms as `scanlight population` writes it, for the proof that it is not easy.

Run as `python -m tools.baselines.densities FOLDER OUT.csv` for each of the tables in tests/baselines when the
phantoms, the imaging or the measures changed on purpose; the head of test_not_easy.py says of which seeds.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from appliance import durable
from engines.bundle import embedded_model
from engines.runner import open_engine
from tools.baselines.classical import measured
from tools.baselines.features import BANDS_HU, LungDensity
from tools.dataset.cases import LABELS, read_cases
from tools.dataset.volumes import make_volumes
from tools.problem import WrongInput, one_sentence
from tools.sheet import read_sheet

BANDS: Final = tuple(f"band_{low:g}" for low in BANDS_HU[:-1])
"""Columns, by the lower edge of each band."""

COLUMNS: Final = ("seed", "label", "group", "mean_hu", "ground_glass", "densitometry", "lung_ml", *BANDS)


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one phantom; `densitometry` is the probability that the placeholder model gives it."""

    seed: int
    label: int
    group: str
    density: LungDensity
    densitometry: float


def measure(folder: Path, cache: Path, processes: int = 1) -> list[Measures]:
    """The series of a population on the grid of the placeholder model. Raises WrongInput and OSError."""
    sheet = read_sheet(folder / LABELS)
    sheet.needs("seed", "as scanlight population writes it")
    # What is a lesion is of no use here, and to bring it to the grid takes longest.
    cases = [replace(case, mask=None) for case in read_cases(folder, sheet)]
    found = []
    with closing(open_engine(embedded_model("densitometry"), threads=processes)) as engine:
        spec = engine.spec
        volumes = make_volumes(cases, spec.grid, spec.accepted, cache, processes)
        for row, made in zip(sheet.rows, volumes, strict=True):
            if made.volume is None:
                raise WrongInput(f"{folder / made.case.name}: {made.why} Write the population again.")
            probability = engine.infer(made.hu().astype(np.float32)).probability
            density = measured(made, spec.grid)
            seed = int(row.cells["seed"])
            found.append(Measures(seed, made.case.label, made.case.group, density, probability))
    return found


def write_table(path: Path, rows: Iterable[Measures]) -> None:
    """Raises OSError."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in rows:
        density = one.density
        shares = (density.ground_glass, one.densitometry)
        writer.writerow(
            (
                one.seed,
                one.label,
                one.group,
                f"{density.mean_hu:.2f}",
                *(f"{share:.5f}" for share in shares),
                f"{density.lung_ml:.0f}",
                *(f"{share:.5f}" for share in density.bands),
            )
        )
    durable.write(path, text.getvalue().encode())


def read_table(path: Path) -> list[Measures]:
    """Raises WrongInput."""
    sheet = read_sheet(path)
    for column in COLUMNS:
        sheet.needs(column, "as tools.baselines.densities writes it")
    found = []
    for row in sheet.rows:
        bands = tuple(sheet.number(row, column) for column in BANDS)
        mean_hu, ground_glass, lung_ml, densitometry = (
            sheet.number(row, column) for column in ("mean_hu", "ground_glass", "lung_ml", "densitometry")
        )
        density = LungDensity(mean_hu, ground_glass, bands, lung_ml)
        cells = row.cells
        found.append(Measures(int(cells["seed"]), int(cells["label"]), cells["group"], density, densitometry))
    return found


def write(
    folder: Annotated[Path, typer.Argument(help="As scanlight population writes it.")],
    out: Annotated[Path, typer.Argument(help="The CSV file to write.")],
    cache: Annotated[Path | None, typer.Option(help="Where volumes are kept; else nowhere.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="How many work at a time.")] = 1,
) -> None:
    """Write what lung density and the densitometry model say of each phantom."""
    with one_sentence(), tempfile.TemporaryDirectory() as scratch:
        write_table(out, measure(folder, cache or Path(scratch), processes))


if __name__ == "__main__":
    typer.run(write)

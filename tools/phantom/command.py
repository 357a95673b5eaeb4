"""`scanlight phantom`: writes procedural chests as DICOM series."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tools.phantom.chest import Chest, Kernel, Kind, Phantom, PhantomError, Side
from tools.phantom.companions import write_dose_sheet, write_localizer
from tools.phantom.dicom import write_series
from tools.phantom.export import Export, Plane, Position, Syntax
from tools.phantom.make import make_chest


def phantom(
    out: Annotated[Path, typer.Argument(help="Folder for the series, each in a folder of its own.")],
    kind: Annotated[Kind, typer.Option(help="Disease.")] = "covid",
    seed: Annotated[int, typer.Option(help="The patient.")] = 1,
    count: Annotated[int, typer.Option(min=1, help="How many patients, from this seed on.")] = 1,
    slice_mm: Annotated[float, typer.Option(help="Slice thickness, 1 to 5 mm in steps of 0.25 mm.")] = 2.0,
    matrix: Annotated[int, typer.Option(help="Rows and columns, 64 to 512.")] = 512,
    fov_mm: Annotated[float, typer.Option(help="Field of view in mm.")] = 400.0,
    side: Annotated[Side | None, typer.Option(help="Lesions in this lung only.")] = None,
    whiteout: Annotated[Side | None, typer.Option(help="Fill this lung.")] = None,
    kernel: Annotated[Kernel, typer.Option(help="Reconstruction kernel.")] = "soft",
    noise_hu: Annotated[
        float, typer.Option(help="Noise of a 1 mm slice of the soft kernel.")
    ] = Chest.noise_hu,
    position: Annotated[Position, typer.Option(help="How the patient lies on the table.")] = "HFS",
    plane: Annotated[Plane, typer.Option(help="Orientation of the images.")] = "axial",
    flip_rows: Annotated[bool, typer.Option("--flip-rows", help="Store rows in reverse.")] = False,
    flip_columns: Annotated[bool, typer.Option("--flip-columns", help="Store columns in reverse.")] = False,
    reverse_instances: Annotated[
        bool, typer.Option("--reverse-instances", help="Number the slices the other way round.")
    ] = False,
    tilt_deg: Annotated[float, typer.Option(help="Gantry tilt.")] = 0.0,
    syntax: Annotated[Syntax, typer.Option(help="Transfer syntax.")] = "explicit",
    companions: Annotated[
        bool, typer.Option("--companions", help="Also the localizer and dose sheet of each study.")
    ] = False,
    mask: Annotated[
        bool, typer.Option("--mask", help="Also the lesion mask, beside the series, as NumPy .npz.")
    ] = False,
) -> None:
    """Write procedural chests, with or without disease, as the DICOM series of a CT scanner."""
    try:
        export = Export(
            position=position,
            plane=plane,
            flip_rows=flip_rows,
            flip_columns=flip_columns,
            reverse_instances=reverse_instances,
            tilt_deg=tilt_deg,
            syntax=syntax,
        )
        chests = [
            Chest(kind, seed + number, slice_mm, matrix, fov_mm, side, whiteout, kernel, noise_hu)
            for number in range(count)
        ]
        _write_all(chests, export, out, companions=companions, mask=mask)
    except PhantomError as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(
            f"{out} cannot be written: {error.strerror}. Choose a folder with room that you may write to."
        )


def _refuse(sentence: str) -> None:
    typer.echo(sentence, err=True)
    raise typer.Exit(2)


def _write_all(chests: list[Chest], export: Export, out: Path, *, companions: bool, mask: bool) -> None:
    console = Console()
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1)
        for chest in chests:
            name = f"{chest.kind}-{chest.seed:04d}"
            if (out / name).exists():
                raise PhantomError(f"{out / name} exists already: choose another folder or remove it.")
            bar.update(task, description=name, completed=0)
            made = make_chest(chest, progress=lambda share: bar.update(task, completed=share))
            files = write_series(made, out / name, export)
            if companions:
                write_localizer(chest, out / name / "localizer", export)
                write_dose_sheet(chest, out / name / "dose", export)
            if mask:
                write_mask(made, out / f"{name}.mask.npz")
            typer.echo(f"{out / name}: {len(files)} slices, lungs {made.lung_ml:.0f} ml, {_disease(made)}")


def _disease(made: Phantom) -> str:
    millilitres = float(made.lesions.sum()) * float(np.prod(made.spacing_mm)) / 1000
    return f"lesions {millilitres:.1f} ml"


def write_mask(made: Phantom, path: Path) -> None:
    """The mask [z, y, x] in the patient frame (LPS) with its spacing (z, y, x) and origin (x, y, z) in mm."""
    np.savez_compressed(path, lesions=made.lesions, spacing_mm=made.spacing_mm, origin_mm=made.origin_mm)

"""scanlight engine: what a bundle is, and whether it is what was built and runs here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from appliance.imaging.slices import read_slices
from appliance.known_answers import AnswersWrong, KnownAnswers
from appliance.reading import WrongModel, rules_for
from appliance.state_disk import StateDisk
from engines.bundle import BundleError, ModelFile, PlanInfo, load_model
from engines.nvidia import DISTRIBUTIONS, NotHere
from engines.protocol import DeviceLost, EngineError, EngineKind
from engines.runner import open_engine
from engines.tensorrt import other_driver

REFUSED = 1


def inspect(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle, or an ONNX model.")],
    as_json: Annotated[bool, typer.Option("--json", help="The same as one JSON object.")] = False,
) -> None:
    """Say what a bundle is: its model, its plan, what it was built by and for, its parity.

    Exit 1 when it is not as it was built.
    """
    model = _intact(bundle)
    if as_json:
        typer.echo(json.dumps(_facts(model), indent=2))
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for row in _rows(model):
        table.add_row(*row)
    Console().print(table)


def verify(bundle: Annotated[Path, typer.Argument(metavar="BUNDLE")]) -> None:
    """Check every byte of a bundle against its hashes, and its known answers on what is here.

    Always on the CPU, and on the GPU where there is one. Exit 1 when the bundle was changed, does not fit
    this machine's TensorRT or GPU, these do not work, or it answers otherwise than it should.
    """
    if bundle.is_file():
        _refuse(f"{bundle.name} is one file and no bundle: scanlight build-engine makes one of it")
    model = _intact(bundle)
    typer.echo(f"{bundle.name}: every file is as it was built")
    if model.bundle is None:
        typer.echo(f"{bundle.name}: it has no plan and no known answers")
        return
    typer.echo(f"{bundle.name}: {_answers(model, 'cpu')}")
    try:
        told = _answers(model, "tensorrt")
    except NotHere as error:
        typer.echo(f"{bundle.name}: not tried on a GPU, since {error}")
    else:
        typer.echo(f"{bundle.name}: {told}")


def _intact(path: Path) -> ModelFile:
    try:
        return load_model(path)
    except BundleError as error:
        _refuse(error)


def _answers(model: ModelFile, kind: EngineKind) -> str:
    """Run the known answers; raises NotHere where there is nothing to run them on."""
    name = model.path.parent.name
    try:
        with closing(open_engine(model, kind)) as engine:
            by = f"{engine.identity.device} ({engine.identity.flavour})"
            rules = rules_for(engine.spec)
            answers = KnownAnswers(engine, rules, read_slices, Path(), StateDisk(), model.known_answers)
            if kind == "tensorrt" and (caution := other_driver(model, engine.identity.driver)):
                typer.echo(caution)
            try:
                answers.check()
                return f"{answers.expected()} known answers are right on {by}"
            except AnswersWrong as error:
                _refuse(f"{name} on {by}: {error}")
    except NotHere:
        raise
    except DeviceLost as error:
        _refuse(f"{name}: {error}")
    except (EngineError, WrongModel) as error:
        _refuse(error)


def _refuse(error: Exception | str) -> NoReturn:
    typer.echo(str(error), err=True)
    raise typer.Exit(REFUSED) from None


def _facts(model: ModelFile) -> dict[str, object]:
    plan = model.bundle.info.model_dump(mode="json") if model.bundle else None
    return {
        "spec": model.spec.model_dump(mode="json"),
        "model_sha256": model.digest,
        "bundle_sha256": model.bundle_digest or None,
        "plan": plan,
    }


def _rows(model: ModelFile) -> Iterator[tuple[str, str]]:
    spec = model.spec
    use = f"for {spec.intended_use} use, flags from {spec.operating_point:g}"
    yield "model", f"{spec.name} {spec.version}, {use}"
    yield "grid", f"{_by(spec.grid.size)} voxels of {_by(spec.grid.spacing_mm)} mm ({spec.layout})"
    yield "trained on", spec.trained_on
    yield "licence", spec.licence
    yield "SHA-256", model.digest
    if model.bundle is None:
        yield "plan", "none: the CPU engine runs the model"
        return
    yield from _plan_rows(model.bundle.info)
    yield "manifest", model.bundle.digest


def _plan_rows(plan: PlanInfo) -> Iterator[tuple[str, str]]:
    parity = plan.parity
    yield "plan", f"by {DISTRIBUTIONS[plan.flavour]} {plan.tensorrt}"
    yield "for GPUs", f"of compute capability {', '.join(plan.compute_capabilities)}"
    if plan.device:
        yield "built on", f"{plan.device}, driver {plan.driver or 'unknown'}"
    if plan.options:
        yield "options", ", ".join(f"{name} {value}" for name, value in plan.options.items())
    over = f"over {parity.volumes} volumes"
    yield "parity", f"largest difference of probability {parity.largest_delta:.4f} {over}"
    if parity.lowest_correlation is not None:
        yield "", f"lowest correlation of heatmaps {parity.lowest_correlation:.4f}"
    if not parity.trained:
        yield "", "without trained weights: only finite values and the probability were asked"


def _by(sizes: Sequence[float]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)

"""`scanlight build-engine`: a trained model in, a bundle with its FP16 plan out, or one sentence why not."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import onnx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from appliance.known_answers import AnswersWrong, render
from engines.bundle import Flavour, PlanInfo, write_manifest
from engines.nvidia import NvidiaError
from engines.onnxruntime import OnnxRuntimeEngine
from engines.protocol import EngineError
from tools.build_engine.folder import bundle_folder, check_free
from tools.build_engine.plan import TURING, PlanError, Target, build, check_operators, check_target
from tools.build_engine.precision import mixed
from tools.build_engine.report import UNTRAINED, Report, as_json, as_page
from tools.build_engine.settle import MOST_IN_FP32, Settled, always_fp32, settle
from tools.build_engine.source import Source, read_source
from tools.build_engine.volumes import gather, known_answers, phantoms, read_chests
from tools.expected_answers import answers
from tools.problem import WrongInput, one_sentence

MODEL, FP16, PLAN, KNOWN_ANSWERS = "model.onnx", "model.fp16.onnx", "engine.plan", "known-answers.json"
REPORT, PAGE = "parity.json", "parity.html"


def build_engine(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The trained model, in FP32.")],
    out: Annotated[Path, typer.Option(metavar="BUNDLE", help="The folder to write.")],
    flavour: Annotated[
        Flavour,
        typer.Option(help="TensorRT-RTX, built anywhere, or TensorRT, built on the GPU that it is for."),
    ] = "rtx",
    compute_capability: Annotated[
        list[str] | None,
        typer.Option(metavar="X.Y", help="Of the GPUs, repeatable; else Ampere and later. For rtx."),
    ] = None,
    spec: Annotated[
        Path | None,
        typer.Option(metavar="YAML", exists=True, dir_okay=False, help="For a model that carries none."),
    ] = None,
    series: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Judge FP16 on these series besides the phantoms: for a model that phantoms do not move.",
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="In place of the bundle that is there.")] = False,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="For later versions of TensorRT too. For enterprise.")
    ] = False,
    hardware_compatible: Annotated[
        bool, typer.Option("--hardware-compatible", help="For other GPUs from Ampere on. For enterprise.")
    ] = False,
    timing_cache: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Kept for the next build; else beside the bundle. For enterprise."),
    ] = None,
) -> None:
    """Turn a trained ONNX model into an FP16 TensorRT engine, if it says in FP16 what it says in FP32.

    Exits with 1 and no bundle when it does not, and with 2 when something is wrong with what was given.
    """
    if timing_cache is None and flavour == "enterprise":
        timing_cache = Path(f"{out.absolute()}.timings")
    target = Target(
        flavour,
        tuple(dict.fromkeys(compute_capability or ())),
        version_compatible,
        hardware_compatible,
        timing_cache,
    )
    try:
        with one_sentence(), _Shown(Console(stderr=True)) as shown:
            check_free(out, replace)
            source = read_source(model, spec)
            check_target(target)
            all_half = TURING in target.compute_capabilities
            check_operators(mixed(source.graph, frozenset(always_fp32(source.graph, all_half))), target)
            settled = _judged(source, all_half, series, shown)
            fp16 = mixed(source.graph, frozenset(settled.fp32))
            plan = build(fp16, target, shown.count)
            _write(out, replace, Report(source, settled, target, plan), fp16)
    except NvidiaError as error:
        typer.echo(f"{error}.", err=True)
        raise typer.Exit(2) from None
    except (MemoryError, BrokenProcessPool):
        # A worker that ends by itself is mostly one that the kernel ended for want of memory.
        typer.echo("This machine ran out of memory: end what else runs on it, and build again.", err=True)
        raise typer.Exit(1) from None
    except (PlanError, _NotAlike) as error:
        typer.echo(str(error), err=True)
        if isinstance(error, PlanError) and error.detail:
            typer.echo(f"TensorRT: {error.detail}", err=True)
        raise typer.Exit(1) from None
    info = settled.outcome.info()
    typer.echo(
        f"{out}: {len(plan.content) / 1e6:.1f} MB for {plan.device or ', '.join(plan.compute_capabilities)};"
        f" the probability differs by at most {info.largest_delta:.4f} in {info.volumes} volumes, see {PAGE}"
    )
    if not info.trained:
        typer.echo(UNTRAINED)


class _NotAlike(Exception):
    """FP16 says something else than FP32: one sentence with what to do."""


def _judged(source: Source, all_half: bool, series: Path | None, shown: _Shown) -> Settled:
    """What stays in FP32, for a model that passes the gate."""
    spec = source.spec
    trained = spec.intended_use != "placeholder"
    chests = [*phantoms(spec.grid, shown.count), *known_answers(spec.grid)]
    if series is not None:
        chests = [*read_chests(series, spec.grid, shown.count), *chests]
    try:
        volumes = gather(OnnxRuntimeEngine(source.file), chests, trained, shown.count)
    except EngineError as error:
        raise WrongInput(f"{source.file.path} does not work in FP32: {error}.") from None
    try:
        settled = settle(source.graph, spec, volumes, all_half, shown.count)
    except EngineError as error:
        raise _NotAlike(
            f"No bundle was written: {error}; export the model with standard operators, or read with the CPU"
            " engine."
        ) from None
    if settled.share > MOST_IN_FP32:
        raise _NotAlike(f"No bundle was written: {_too_much_in_fp32(settled)}.")
    if settled.outcome.problem:
        raise _NotAlike(f"No bundle was written: {_why_not(settled, all_half)}.")
    return settled


def _too_much_in_fp32(settled: Settled) -> str:
    reasons = list(dict.fromkeys(settled.fp32.values()))
    return (
        f"{100 * settled.share:.0f} % of the multiply-adds would stay in FP32, more than"
        f" {100 * MOST_IN_FP32:.0f} % ({'; '.join(reasons[:3])}); export the model with operators and"
        " constants that FP16 has, or read with the CPU engine"
    )


def _why_not(settled: Settled, all_half: bool) -> str:
    """What the gate does not let pass, where it comes from, and what to do."""
    outcome = settled.outcome
    if not (outcome.failed or outcome.beyond):
        return f"{outcome.problem}; name series that the model flags and some that it does not with --series"
    if all_half:
        todo = f"leave --compute-capability {TURING} out, whose GPUs allow no FP32 where it would help"
    elif outcome.beyond:
        todo = "normalise before these layers and train again, or read with the CPU engine"
    else:
        todo = (
            f"FP32 in up to {100 * MOST_IN_FP32:.0f} % of the work, in the first or in the last layers, does"
            " not mend it, so read with the CPU engine"
        )
    blamed = f"; most comes from {', '.join(settled.to_blame)}" if settled.to_blame else ""
    return f"{outcome.problem}{blamed}; {todo}"


def _write(out: Path, replace: bool, report: Report, fp16: onnx.ModelProto) -> None:
    source, plan = report.source, report.plan
    try:
        expected = render(answers(OnnxRuntimeEngine(source.file)))
    except AnswersWrong as error:
        raise WrongInput(f"{source.file.path} has no known answers: {error}") from None
    info = PlanInfo(
        file=PLAN,
        onnx=FP16,
        known_answers=KNOWN_ANSWERS,
        flavour=report.target.flavour,
        tensorrt=plan.tensorrt,
        compute_capabilities=plan.compute_capabilities,
        device=plan.device,
        driver=plan.driver,
        options=plan.options,
        parity=report.outcome.info(),
    )
    with _named(out), bundle_folder(out, replace) as folder:
        (folder / MODEL).write_bytes(source.file.content)
        (folder / FP16).write_bytes(fp16.SerializeToString(deterministic=True))
        (folder / PLAN).write_bytes(plan.content)
        (folder / KNOWN_ANSWERS).write_text(expected)
        (folder / REPORT).write_text(as_json(report))
        (folder / PAGE).write_text(as_page(report))
        write_manifest(folder, MODEL, source.spec, info)


@contextmanager
def _named(out: Path) -> Iterator[None]:
    """A disk that is full does not say whose file it was."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise WrongInput(
            f"{out} cannot be written ({error.strerror}): make room, or choose another place."
        ) from None


class _Shown:
    """Progress on a terminal; elsewhere nothing."""

    def __init__(self, console: Console) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._task = self._bar.add_task("", visible=False)

    def __enter__(self) -> _Shown:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def count(self, what: str, done: int, total: int) -> None:
        self._bar.update(self._task, description=what, completed=done, total=total, visible=True)

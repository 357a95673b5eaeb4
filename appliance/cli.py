"""The command line: a table from command to function. A function is imported only when its command runs."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated

import typer
from typer._completion_classes import completion_init


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command's function is, and its line in the overview."""

    target: str
    help: str

    def load(self) -> Callable[..., None]:
        module, _, name = self.target.partition(":")
        function: Callable[..., None] = getattr(importlib.import_module(module), name)
        return function


COMPLETE_VARIABLE = "_SCANLIGHT_COMPLETE"
"""Set by a shell that asks how a line can go on."""

COMMANDS: dict[tuple[str, ...], Command] = {
    ("run",): Command("appliance.commands.run:run", "Watch the export folder and flag: the daemon."),
    ("read",): Command(
        "appliance.commands.read:read", "Read any tree of DICOM files once, without a daemon."
    ),
    ("list",): Command("appliance.commands.journal:list_series", "List what a daemon has seen."),
    ("show",): Command("appliance.commands.journal:show", "Show a series with all its revisions."),
    ("link",): Command("appliance.commands.link:link", "Print the link that opens the page on a screen."),
    ("status",): Command("appliance.commands.status:status", "Show what the light knows."),
    ("audit",): Command("appliance.commands.audit:audit", "Print the audit log, and check it."),
    ("engine", "inspect"): Command("appliance.commands.engine:inspect", "Say what a bundle is."),
    ("engine", "verify"): Command(
        "appliance.commands.engine:verify", "Check a bundle's bytes, and its known answers."
    ),
    ("retry",): Command("appliance.commands.retry:retry", "Have series read once more."),
    ("rebuild",): Command(
        "appliance.commands.rebuild:rebuild", "Make a new journal in place of a damaged one."
    ),
    ("rollback",): Command(
        "appliance.commands.rollback:rollback", "Bring the journal back to what an older version reads."
    ),
    ("config", "check"): Command("appliance.commands.config:check", "Check a configuration file."),
    ("config", "example"): Command(
        "appliance.commands.config:example", "Print a configuration to start from."
    ),
    ("config", "drop-in"): Command(
        "appliance.commands.config:drop_in", "Print what the service's sandbox must be opened for."
    ),
    ("config", "schema"): Command("appliance.commands.config:schema", "Print the settings as JSON Schema."),
    ("completion",): Command(
        "appliance.commands.completion:completion", "Print what lets a shell complete commands."
    ),
    ("demo",): Command("tools.demo:demo", "Play a scanner to a daemon of its own and show what it finds."),
    ("replay",): Command(
        "tools.replay.command:replay", "Simulate scanners, and count what the appliance tells of them."
    ),
    ("model", "summary"): Command(
        "tools.network.command:summary", "Print the layers of CSAC-Net and their cost."
    ),
    ("model", "placeholder"): Command(
        "tools.network.placeholder:placeholder", "Write CSAC-Net with random weights, to build engines of."
    ),
    ("model", "roofline"): Command(
        "tools.network.command:roofline", "Estimate the time of a volume on workstation GPUs."
    ),
    ("model", "export"): Command(
        "tools.train.command:export", "Write a checkpoint's network as an ONNX model."
    ),
    ("train",): Command("tools.train.command:train", "Train CSAC-Net on labelled series."),
    ("build-engine",): Command(
        "tools.build_engine.command:build_engine", "Turn a trained model into an FP16 TensorRT engine."
    ),
    ("evaluate",): Command(
        "tools.evaluate.command:evaluate", "Measure a model's scores against labels, and write a report."
    ),
    ("phantom",): Command("tools.phantom.command:phantom", "Write procedural chests as DICOM series."),
    ("population",): Command(
        "tools.phantom.population_command:population", "Write a labelled data set of phantoms."
    ),
    ("doctor",): Command("tools.doctor.command:doctor", "Test this installation, and write a report."),
    ("accept",): Command(
        "tools.doctor.command:accept", "Sign a report that passed: the appliance is accepted as tested."
    ),
    ("bench", "completeness"): Command(
        "tools.bench.completeness:completeness", "Replay arrivals to a daemon: what it tells, and when."
    ),
    ("bench", "engine"): Command(
        "tools.bench.engine:engine", "Time the CPU engine against ONNX Runtime as it comes."
    ),
    ("bench", "folder"): Command(
        "tools.bench.folder:folder",
        "Look after a million old files: time, memory, how soon a new one is seen.",
    ),
    ("bench", "metrics"): Command(
        "tools.bench.metrics:metrics", "Time /metrics over a journal of years against counters in memory."
    ),
    ("bench", "volume"): Command("tools.bench.volume:volume", "Time folder to volume against other readers."),
}

GROUPS = {
    "config": "The configuration file.",
    "engine": "Bundles: a model with its TensorRT plan.",
    "bench": "Measurements, against a named peer.",
    "model": "The network.",
}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"scanlight {version('scanlight')}")
        raise typer.Exit


def _root(
    show: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Scanlight flags suspected COVID-19 pneumonia on chest CT as the scan finishes.

    Prioritisation only: a series without a flag stays in the standard of care.
    """


def build(arguments: Sequence[str]) -> typer.Typer:
    """The application for these arguments: the command that they name is loaded, the others listed."""
    words = tuple(word for word in arguments if not word.startswith("-"))
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_root)
    groups: dict[str, typer.Typer] = {}
    for name, command in COMMANDS.items():
        parent = app
        if len(name) == 2:
            group = name[0]
            if group not in groups:
                groups[group] = typer.Typer(no_args_is_help=True)
                app.add_typer(groups[group], name=group, help=GROUPS[group])
            parent = groups[group]
        function = command.load() if words[: len(name)] == name else _unloaded
        parent.command(name[-1], help=None if function is not _unloaded else command.help)(function)
    return app


def _unloaded() -> None:
    raise AssertionError("only the named command runs")


def main() -> None:
    """The `scanlight` command, or what a shell can complete of it."""
    words = sys.argv[1:]
    if COMPLETE_VARIABLE in os.environ:
        completion_init()
        words = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()[1:]
    build(words)(complete_var=COMPLETE_VARIABLE)

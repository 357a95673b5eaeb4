"""scanlight status: what the light knows, in words and as an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from appliance import control
from appliance.acceptance import STARTING, WHY_NOT
from appliance.commands.journal import USAGE, ConfigOption, StateOption, state_folder
from appliance.config import DEFAULT_CONFIG, ConfigError, load
from appliance.light import FAULTS, State

EXIT: Final = MappingProxyType(
    {State.READY: 0, State.READING: 10, State.SUSPECT: 11, State.NOT_ANALYSED: 12, State.FAULT: 13}
)
NO_DAEMON: Final = 14

STANDARD_OF_CARE: Final = "A study without a flag stays in the standard of care."


def status(
    config: ConfigOption = DEFAULT_CONFIG,
    state: StateOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As /api/status has it.")] = False,
) -> None:
    """Show what the light knows: the state and why, the counts, what is in progress, the model.

    Exit 0 READY, 10 READING, 11 SUSPECT, 12 NOT ANALYSED, 13 FAULT, and so for a daemon that does not answer,
    14 without a daemon.
    """
    folder = state_folder(config, state)
    if state is None:
        _tell_mistakes(config)
    try:
        body = control.status(folder.control)
    except control.Silent:
        typer.echo(
            "FAULT: the daemon does not answer; the service manager starts it again within a minute.",
            err=True,
        )
        raise typer.Exit(EXIT[State.FAULT]) from None
    except PermissionError:
        typer.echo(f"{folder.control} is not for this user: run it as root or as the service.", err=True)
        raise typer.Exit(USAGE) from None
    except control.NoDaemon:
        typer.echo(f"NO SIGNAL: no daemon runs with {folder.path}.", err=True)
        raise typer.Exit(NO_DAEMON) from None
    typer.echo(json.dumps(body, ensure_ascii=False) if as_json else "\n".join(lines(body)))
    raise typer.Exit(exit_code(body))


def _tell_mistakes(config: Path) -> None:
    """A daemon that runs goes on by the configuration before, and would not start with this one."""
    try:
        load(config)
    except ConfigError as error:
        typer.echo(str(error), err=True)


def exit_code(body: Mapping[str, Any]) -> int:
    """A state that is not known here is that of a newer daemon: somebody should look."""
    return EXIT.get(body["state"], EXIT[State.FAULT])


def lines(body: Mapping[str, Any]) -> Iterator[str]:
    """The body of `/api/status` in words."""
    yield f"{_words(body['state']).upper()} since {_local(body['since'])}"
    if body["bands"]:
        yield " · ".join(body["bands"])
    yield from _not_accepted(body["facts"].get("not_accepted", ()))
    for code in body["why"]:
        yield f"  {FAULTS.get(code, _words(code))}"
    for path in body["facts"].get("closed_folders", ()):
        yield f"  it cannot be opened: {path}"
    yield ", ".join(f"{count} {_words(name)}" for name, count in body["counts"].items())
    for one in body["in_progress"]:
        slices = "1 slice" if one["seen"] == 1 else f"{one['seen']} slices"
        label = f" ({one['label']})" if one.get("label") else ""
        yield f"  {_words(one['stage'])}: {slices}{label}"
    facts = body["facts"]
    yield from _model(facts["model"])
    if facts.get("lamp") == "failing":
        yield "The lamp does not work: its command fails, see the log."
    if facts.get("reloaded"):
        yield from _reloaded(facts["reloaded"])
    if body["state"] == State.READY:
        yield STANDARD_OF_CARE


def _not_accepted(codes: Sequence[str]) -> Iterator[str]:
    for code in codes:
        yield f"  {WHY_NOT.get(code, _words(code))}"
    if codes and codes[0] != STARTING:
        yield "  scanlight doctor tests the installation, scanlight accept signs the report"


def _model(model: Mapping[str, Any]) -> Iterator[str]:
    engine = model["engine"]
    device = "" if engine is None else f", {engine['runner']} on {engine['device']}"
    yield (
        f"Model {model['name']} {model['version']} for {model['intended_use']} use,"
        f" flags from {model['operating_point']:g}{device}"
    )
    if why := model.get("engine_why"):
        yield f"  {why}"


def _reloaded(reloaded: Mapping[str, Any]) -> Iterator[str]:
    at, mistakes = _local(reloaded["at"]), reloaded["mistakes"]
    if mistakes:
        found = "1 mistake" if mistakes == 1 else f"{mistakes} mistakes"
        yield f"Configuration read again {at}: {found}, all is as it was; scanlight config check tells more."
        return
    yield f"Configuration read again {at}: {', '.join(reloaded['applied']) or 'nothing'} changed"
    for setting, why in reloaded["refused"].items():
        yield f"  {setting} waits for the next start: {why}"


def _local(at: str) -> str:
    return f"{datetime.fromisoformat(at).astimezone():%Y-%m-%d %H:%M:%S}"


def _words(code: str) -> str:
    return code.replace("_", " ")

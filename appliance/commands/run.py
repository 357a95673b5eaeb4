"""scanlight run: the daemon."""

from __future__ import annotations

import multiprocessing
import os
import signal
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from appliance import logs, open_files
from appliance.access_token import TokenError
from appliance.config import DEFAULT_CONFIG, Config, ConfigError, load
from appliance.daemon import Daemon, EngineHung
from appliance.journal import JournalError
from appliance.reading import WrongModel
from appliance.state_folder import StateFolder, StateFolderError
from appliance.web.certificate import CertificateError
from appliance.web.server import WebError
from engines.bundle import BundleError, default_model, load_model
from engines.protocol import DeviceLost, EngineError
from engines.runner import open_engine

REFUSALS = (
    BundleError,
    CertificateError,
    EngineError,
    JournalError,
    StateFolderError,
    TokenError,
    WebError,
    WrongModel,
)
CANNOT_START = 2
CRASHED = 70


def run(
    config: Annotated[
        Path,
        typer.Option(
            "--config", metavar="FILE", envvar="SCANLIGHT_CONFIG", help="The configuration, in YAML."
        ),
    ] = DEFAULT_CONFIG,
    accept_folder: Annotated[
        bool, typer.Option(help="Accept that the export folder is on another file system than before.")
    ] = False,
) -> None:
    """Watch the export folder and flag suspected series, until SIGTERM.

    Three lines of configuration are enough: export_folder, state_folder, listen. Exit 0 after a signal, 2
    when it cannot start, 70 after a crash, to be started again.
    """
    # A reload that comes before there is anything to reload must not end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        settings = load(config)
        daemon = _build(settings, config, accept_folder=accept_folder)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(problem, err=True)
        raise typer.Exit(CANNOT_START) from None
    except REFUSALS as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(CANNOT_START) from None
    try:
        daemon.run()
    except DeviceLost:
        os._exit(CRASHED)
    except Exception as error:
        logs.crash("crashed", error, hung=isinstance(error, EngineHung))
        # A thread inside a hung call cannot be joined, and what was in progress is found again at the start.
        os._exit(CRASHED)
    if multiprocessing.active_children():
        # Inside a share that hangs a worker cannot be killed, and would be waited for.
        os._exit(0)


def _build(settings: Config, file: Path, *, accept_folder: bool) -> Daemon:
    # What is written is for the service and its group.
    os.umask(0o027)
    # What would be read again is being read for the first time.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logs.configure(settings.log_level)
    open_files.allow_many()
    model = load_model(settings.model or default_model())
    cache = StateFolder(settings.state_folder).engine_cache
    return Daemon(
        settings,
        model,
        lambda: open_engine(model, settings.engine, cache=cache),
        partial(load, file),
        accept_folder=accept_folder,
    )

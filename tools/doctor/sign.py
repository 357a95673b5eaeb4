"""Signing a report that passed: from then on the installation is accepted as it was tested."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from appliance import durable
from appliance.acceptance import WHY_NOT, Acceptance, Subject, why_not
from appliance.clock import utc_now
from appliance.config import Config
from appliance.state_folder import StateFolder
from engines.bundle import BundleError, default_model, load_model
from tools.doctor.check import Verdict
from tools.doctor.page import page
from tools.doctor.report import HTML, JSON, SIGNED, read_report
from tools.problem import WrongInput


class NotPassed(Exception):
    """A report that may not be signed; the message is one sentence."""


def sign(folder: Path, names: Sequence[str], config: Config) -> Acceptance:
    """Signs the report in a folder and puts it to use. What has not passed is refused with NotPassed.

    Whether engine, device and driver are still those of the report, the daemon sees by itself. Raises
    WrongInput or OSError.
    """
    for name in names:
        if not name.strip() or not name.isprintable():
            raise WrongInput("--name needs who signs, such as 'A. Physicist'.")
    report, content = read_report(folder)
    if hashlib.sha256(content).hexdigest().encode() not in (folder / HTML).read_bytes():
        raise NotPassed(
            f"{folder / JSON} is not what {HTML} beside it was written of, so it was changed after it was"
            " written: run scanlight doctor again."
        )
    if report.subject is None or report.about is None or not report.passed:
        missed = ", ".join(report.names(Verdict.FAILED))
        raise NotPassed(
            f"The report in {folder} has not passed ({missed}): mend that and run scanlight doctor again."
        )
    if report.about.machine != platform.node():
        raise NotPassed(
            f"The report in {folder} is of the machine {report.about.machine}, not of this one:"
            " run scanlight doctor here."
        )
    changed = why_not(_signed(report.subject, content, names, ()), _as_installed(config, report.subject))
    if changed:
        sentences = "; ".join(WHY_NOT[code].replace("accepted", "tested") for code in changed)
        raise NotPassed(
            f"The report in {folder} is not of what is installed ({sentences}): run scanlight doctor again."
        )
    state = StateFolder(config.state_folder)
    _check(state)
    signed = _signed(report.subject, content, names, report.names(Verdict.NOT_DONE))
    durable.write(folder / HTML, page(report, content, signed).encode())
    durable.write(folder / SIGNED, signed.render())
    _keep(state, signed)
    return signed


def _signed(subject: Subject, content: bytes, names: Sequence[str], not_done: tuple[str, ...]) -> Acceptance:
    return Acceptance(
        subject=subject,
        report_sha256=hashlib.sha256(content).hexdigest(),
        signed_by=tuple(name.strip() for name in names),
        signed_at=utc_now(),
        not_done=not_done,
    )


def _as_installed(config: Config, tested: Subject) -> Subject:
    """What was tested, with the model and the version that are there now."""
    try:
        model = load_model(config.model or default_model())
    except BundleError as error:
        raise WrongInput(f"{error}.") from None
    return replace(tested, model=model.digest, bundle=model.bundle_digest, version=version("scanlight"))


def _check(state: StateFolder) -> None:
    """Before anything says that it is signed."""
    if not state.path.is_dir():
        raise WrongInput(f"There is no state folder {state.path}: start the service once, then sign.")
    if not os.access(state.path, os.W_OK | os.X_OK):
        raise WrongInput(
            f"The state folder {state.path} may not be written: sign as root or as the service's user."
        )


def _keep(state: StateFolder, signed: Acceptance) -> None:
    """In the state folder, for the daemon's user to read, whoever signs."""
    durable.write(state.acceptance, signed.render())
    if os.geteuid() == 0:
        owner = state.path.stat()
        os.chown(state.acceptance, owner.st_uid, owner.st_gid)

"""Who may sign what, and that the signature is put to use."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from appliance.acceptance import Acceptance, AcceptanceFile, Subject
from appliance.config import Config
from appliance.state_folder import StateFolder
from engines.bundle import embedded_model, load_model
from engines.onnxruntime import OnnxRuntimeEngine
from tools.doctor.check import Check, Group, Verdict
from tools.doctor.page import page
from tools.doctor.report import HTML, JSON, SIGNED, About, Report, read_report
from tools.doctor.sign import NotPassed, sign
from tools.problem import WrongInput

Site = Callable[..., Config]
NAMES = ("A. Physicist", "B. <IT>")

MODEL = load_model(embedded_model("densitometry"))
REPORT = Report(
    made_at="2026-11-29T08:00:00.000Z",
    about=About(
        machine=platform.node(), model="densitometry 1", intended_use="demonstration", operating_point=0.5
    ),
    subject=Subject.of(MODEL.digest, "", OnnxRuntimeEngine(MODEL).identity, version("scanlight")),
    groups=(
        Group(
            "Speed",
            (
                Check("Engine alone", "p < 1 s", "a limit", Verdict.PASSED),
                Check("Sandbox", "no systemd", "a limit", Verdict.NOT_DONE),
            ),
        ),
    ),
)


def with_verdict(verdict: Verdict) -> Report:
    (group,) = REPORT.groups
    first, second = group.checks
    return REPORT.model_copy(
        update={"groups": (replace(group, checks=(replace(first, verdict=verdict), second)),)}
    )


def written(folder: Path, report: Report = REPORT) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / JSON).write_bytes(report.render())
    (folder / HTML).write_text(page(report, report.render(), None))
    return folder


def test_a_signed_report_is_put_to_use_and_says_who_signed(site: Site, tmp_path: Path) -> None:
    config, folder = site(), written(tmp_path / "report")
    unsigned = (folder / HTML).read_text()
    assert "NOT ACCEPTED" in unsigned
    signed = sign(folder, NAMES, config)
    assert signed.report_sha256 == hashlib.sha256((folder / JSON).read_bytes()).hexdigest()
    assert signed.not_done == ("Sandbox",)
    kept = AcceptanceFile(StateFolder(config.state_folder).acceptance)
    kept.look()
    assert kept.accepted == signed == Acceptance.model_validate_json((folder / SIGNED).read_bytes())
    assert kept.why_not(REPORT.subject) == ()
    html = (folder / HTML).read_text()
    assert "A. Physicist, B. &lt;IT&gt;" in html
    assert signed.report_sha256 in html
    assert "accepted without" in html
    assert read_report(folder)[0] == REPORT


def test_a_report_passes_with_what_is_not_done_and_not_without_an_engine() -> None:
    assert REPORT.passed
    assert not with_verdict(Verdict.FAILED).passed
    assert not REPORT.model_copy(update={"subject": None}).passed


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (with_verdict(Verdict.FAILED), "has not passed (Engine alone)"),
        (REPORT.model_copy(update={"subject": None}), "has not passed"),
        (
            REPORT.model_copy(update={"about": REPORT.about.model_copy(update={"machine": "another"})})
            if REPORT.about
            else REPORT,
            "of the machine another",
        ),
        (
            REPORT.model_copy(update={"subject": replace(REPORT.subject, version="0.0.9")})
            if REPORT.subject
            else REPORT,
            "its version of Scanlight is not the one that was tested",
        ),
    ],
)
def test_what_has_not_passed_here_and_now_is_not_signed(
    site: Site, tmp_path: Path, report: Report, why: str
) -> None:
    config = site()
    with pytest.raises(NotPassed) as refused:
        sign(written(tmp_path / "report", report), NAMES, config)
    assert why in str(refused.value)
    assert not StateFolder(config.state_folder).acceptance.exists()
    assert not (tmp_path / "report" / SIGNED).exists()


def test_a_report_of_another_model_than_the_configuration_names_is_not_signed(
    site: Site, tmp_path: Path
) -> None:
    config = site(model=embedded_model("csac-net-edge"))
    with pytest.raises(NotPassed, match="its model is not the one that was tested"):
        sign(written(tmp_path / "report"), NAMES, config)


@pytest.mark.parametrize("content", [b"", b"{}", REPORT.render()[:-9], b'{"report": "scanlight evaluate"}'])
def test_what_is_no_report_is_refused(site: Site, tmp_path: Path, content: bytes) -> None:
    folder = written(tmp_path / "report")
    (folder / JSON).write_bytes(content)
    with pytest.raises(WrongInput, match="is no report of scanlight doctor"):
        sign(folder, NAMES, site())


def test_a_report_that_was_edited_is_not_signed(site: Site, tmp_path: Path) -> None:
    folder, config = written(tmp_path / "report", with_verdict(Verdict.FAILED)), site()
    (folder / JSON).write_bytes(with_verdict(Verdict.PASSED).render())
    with pytest.raises(NotPassed, match="it was changed after it was written: run scanlight doctor again"):
        sign(folder, NAMES, config)
    assert not StateFolder(config.state_folder).acceptance.exists()


def test_who_signs_later_signs_the_same_report(site: Site, tmp_path: Path) -> None:
    config, folder = site(), written(tmp_path / "report")
    first = sign(folder, NAMES[:1], config)
    assert sign(folder, NAMES[1:], config).report_sha256 == first.report_sha256


@pytest.mark.parametrize("name", ["", " ", "A\nB"])
def test_nobody_signs(site: Site, tmp_path: Path, name: str) -> None:
    with pytest.raises(WrongInput, match="--name"):
        sign(written(tmp_path / "report"), (name,), site())


def test_before_the_first_start_there_is_nothing_to_accept(site: Site, tmp_path: Path) -> None:
    config = site()
    config.state_folder.rmdir()
    folder = written(tmp_path / "report")
    with pytest.raises(WrongInput, match="start the service once"):
        sign(folder, NAMES, config)
    assert not (folder / SIGNED).exists()
    assert "NOT ACCEPTED" in (folder / HTML).read_text(), "nothing says that it is signed"


def test_root_signs_and_the_service_can_read_it(site: Site, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    config = site()
    os.chown(config.state_folder, 4711, 4712)
    sign(written(tmp_path / "report"), NAMES, config)
    kept = StateFolder(config.state_folder).acceptance.stat()
    assert (kept.st_uid, kept.st_gid) == (4711, 4712)


def test_the_json_is_for_programs(tmp_path: Path) -> None:
    content = json.loads((written(tmp_path / "report") / JSON).read_bytes())
    assert content["report"] == "scanlight doctor"
    assert content["subject"]["model"] == MODEL.digest
    assert content["groups"][0]["checks"][1] == {
        "name": "Sandbox",
        "measured": "no systemd",
        "limit": "a limit",
        "verdict": "not done",
        "remedy": "",
    }


def test_the_page_shows_each_line_as_text(tmp_path: Path) -> None:
    html = (written(tmp_path / "report") / HTML).read_text()
    assert "p &lt; 1 s" in html
    assert 'class="text verdict not-done">not done<' in html
    failed = with_verdict(Verdict.FAILED)
    assert 'class="text verdict failed">failed<' in page(failed, failed.render(), None)
    assert "1 failed: Engine alone" in page(failed, failed.render(), None)

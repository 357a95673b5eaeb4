"""The report as one page that needs no other file, for the screen and for paper."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from html import escape
from typing import Final

from appliance.acceptance import Acceptance
from tools.doctor.check import Check, Group, Verdict
from tools.doctor.report import Report
from tools.page import Section, document, table, tiles

_CLASSES: Final = {Verdict.PASSED: "passed", Verdict.FAILED: "failed", Verdict.NOT_DONE: "not-done"}


def page(report: Report, content: bytes, signed: Acceptance | None) -> str:
    """`content` are the bytes of the report's JSON, `signed` who stands for it."""
    digest = hashlib.sha256(content).hexdigest()
    return document(
        "Acceptance test",
        _about(report),
        (
            _key(report, signed),
            *map(_group, report.groups),
            *(table(one) for one in _subject(report)),
            table(_signature(digest, signed)),
        ),
        f"Tested {_time(report.made_at)} UTC by scanlight doctor. Flags set priorities only: a study without"
        " a flag stays in the standard of care.",
    )


def _about(report: Report) -> str:
    if report.about is None:
        return "The model or its engine cannot be opened, so that nothing can be accepted."
    about = report.about
    return (
        f"{about.model}, for {about.intended_use} use, flags from {about.operating_point:g}; on the machine"
        f" {about.machine}."
    )


def _key(report: Report, signed: Acceptance | None) -> str:
    numbers = {verdict: len(report.names(verdict)) for verdict in Verdict}
    return tiles(
        (
            (
                "Verdict",
                "Passed" if report.passed else "Failed",
                f"{numbers[Verdict.PASSED]} passed, {numbers[Verdict.NOT_DONE]} not done,"
                f" {numbers[Verdict.FAILED]} failed{_what(report)}",
            ),
            (
                "Signed",
                "Yes" if signed else "No",
                f"by {', '.join(signed.signed_by)}, {_time(signed.signed_at)} UTC"
                if signed
                else "the appliance shows NOT ACCEPTED",
            ),
        )
    )


def _what(report: Report) -> str:
    wrong = report.names(Verdict.FAILED)
    return f": {', '.join(wrong)}" if wrong else ""


def _group(group: Group) -> str:
    header = "".join(
        f'<th class="text">{name}</th>' for name in ("check", "measured", "limit", "verdict", "what to do")
    )
    rows = "".join(map(_row, group.checks))
    return (
        f'<section><h2>{escape(group.title)}</h2><div class="wide"><table class="checks">'
        f"<thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _row(check: Check) -> str:
    verdict = f'<td class="text verdict {_CLASSES[check.verdict]}">{check.verdict}</td>'
    name, measured, limit, remedy = (
        f'<td class="text">{escape(text)}</td>'
        for text in (check.name, check.measured, check.limit, check.remedy)
    )
    return f"<tr>{name}{measured}{limit}{verdict}{remedy}</tr>"


def _subject(report: Report) -> Iterator[Section]:
    if report.subject is None:
        return
    subject = report.subject
    rows = (
        ("model, SHA-256", subject.model),
        ("bundle, SHA-256 of its manifest", subject.bundle or "none"),
        ("engine", subject.engine),
        ("device", subject.device),
        ("driver", subject.driver or "none"),
        ("Scanlight", subject.version),
    )
    note = "An acceptance holds for exactly these. With any other the appliance shows NOT ACCEPTED again."
    yield Section("subject", "What was tested", ("", ""), rows, (note,), 2)


def _signature(digest: str, signed: Acceptance | None) -> Section:
    if signed is None:
        note = (
            "Not signed. Whoever answers for the use of the appliance reads this report, decides whether what"
            " was not done may be done without, and runs scanlight accept with a name."
        )
        return Section("signature", "Signature", ("", ""), (("report.json, SHA-256", digest),), (note,), 2)
    rows = (
        ("signed by", ", ".join(signed.signed_by)),
        ("signed at", f"{_time(signed.signed_at)} UTC"),
        ("report.json, SHA-256", signed.report_sha256),
        ("accepted without", ", ".join(signed.not_done) or "nothing was left out"),
    )
    return Section("signature", "Signature", ("", ""), rows, (), 2)


def _time(at: str) -> str:
    """2026-11-29 08:00 of an ISO 8601 moment."""
    return at[:16].replace("T", " ")

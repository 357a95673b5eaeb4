"""One line of the acceptance test: what was measured, against which limit, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_DONE = "not done"


@dataclass(frozen=True, slots=True)
class Check:
    """`measured` is what was found, or why nothing was; `remedy` what to do unless it passed."""

    name: str
    measured: str
    limit: str
    verdict: Verdict
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Checks of one subject."""

    title: str
    checks: tuple[Check, ...]


def judged(name: str, passed: bool, measured: str, limit: str, remedy: str) -> Check:
    """A check that was made."""
    if passed:
        return Check(name, measured, limit, Verdict.PASSED)
    return Check(name, measured, limit, Verdict.FAILED, remedy)


def failed(name: str, why: str, limit: str, remedy: str) -> Check:
    """A check that came to no number: `why` is a sentence."""
    return Check(name, why, limit, Verdict.FAILED, remedy)


def not_done(name: str, why: str, limit: str, remedy: str) -> Check:
    """A check that this machine, or whoever runs the test, has nothing for."""
    return Check(name, why, limit, Verdict.NOT_DONE, remedy)

"""The report of an acceptance test: what was tested, and its lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from appliance.acceptance import Subject
from tools.doctor.check import Check, Group, Verdict
from tools.problem import WrongInput

JSON: Final = "report.json"
HTML: Final = "report.html"
SIGNED: Final = "acceptance.json"
KIND: Final = "scanlight doctor"


class About(BaseModel):
    """What was tested, for people: the machine by its name, the model with its operating point."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    machine: str
    model: str
    intended_use: str
    operating_point: float


class Report(BaseModel):
    """`subject` and `about` are None where the model or its engine cannot be opened; `made_at` is in UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    report: Literal["scanlight doctor"] = KIND
    schema_version: Literal[1] = 1
    made_at: str
    about: About | None
    subject: Subject | None
    groups: tuple[Group, ...]

    @property
    def checks(self) -> Iterator[Check]:
        return (check for group in self.groups for check in group.checks)

    def names(self, verdict: Verdict) -> tuple[str, ...]:
        """The checks that ended so."""
        return tuple(check.name for check in self.checks if check.verdict is verdict)

    @property
    def passed(self) -> bool:
        """Whether it may be signed: nothing failed. What was not done is for whoever signs to judge."""
        return self.subject is not None and not self.names(Verdict.FAILED)

    def render(self) -> bytes:
        return self.model_dump_json(indent=1).encode() + b"\n"


def read_report(folder: Path) -> tuple[Report, bytes]:
    """The report in a folder, with the bytes of its JSON. Raises WrongInput or OSError."""
    path = folder / JSON
    content = path.read_bytes()
    try:
        return Report.model_validate_json(content), content
    except ValidationError:
        raise WrongInput(
            f"{path} is no report of scanlight doctor, or of another version: run scanlight doctor again."
        ) from None

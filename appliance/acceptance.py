"""Acceptance: what a site has tested and signed, and whether it is what runs now.

`scanlight doctor` tests an installation and `scanlight accept` signs a report that passed. What was signed is
kept in the state folder and holds for exactly one model, bundle, engine, device, driver and version of
Scanlight.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.protocol import EngineIdentity

NEVER: Final = "never_accepted"
DAMAGED: Final = "acceptance_damaged"
STARTING: Final = "engine_starting"

WHY_NOT: Final = {
    NEVER: "no acceptance test of this installation has been signed",
    DAMAGED: "the record of its acceptance cannot be read",
    STARTING: "its engine is not open yet",
    "model_changed": "its model is not the one that was accepted",
    "bundle_changed": "its bundle is not the one that was accepted",
    "engine_changed": "its engine is not the one that was accepted",
    "device_changed": "its device is not the one that was accepted",
    "driver_changed": "its driver is not the one that was accepted",
    "version_changed": "its version of Scanlight is not the one that was accepted",
}
"""What a code behind NOT ACCEPTED means."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is accepted: SHA-256 of the model and of the bundle's manifest ("" without a bundle), the engine
    with its flavour, the device, its driver ("" without one), and the version of Scanlight.

    Where the engine runs on the processor, the device has its name, so that a state folder that is taken to
    another machine does not bring its acceptance along.
    """

    model: str
    bundle: str
    engine: str
    device: str
    driver: str
    version: str

    @classmethod
    def of(cls, model: str, bundle: str, engine: EngineIdentity, version: str) -> Subject:
        device = f"cpu: {processor()}" if engine.device == "cpu" else engine.device
        return cls(model, bundle, f"{engine.runner}, {engine.flavour}", device, engine.driver, version)


@cache
def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name (proc_cpuinfo(5)); its architecture where Linux names no model, as on ARM."""
    lines = cpuinfo.read_text(errors="replace").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.machine()


class Acceptance(BaseModel):
    """A passed report with who signed it; `report_sha256` is of the report's JSON, `signed_at` in UTC.

    `not_done` names the checks that whoever signed did without.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = Field(default=1, ge=1, le=1)
    subject: Subject
    report_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    signed_by: tuple[str, ...] = Field(min_length=1)
    signed_at: str
    not_done: tuple[str, ...]

    def render(self) -> bytes:
        return self.model_dump_json(indent=1).encode() + b"\n"


def why_not(accepted: Acceptance | None, present: Subject | None) -> tuple[str, ...]:
    """The codes of what is missing; none for an installation that is accepted as it is.

    `present` is None while the engine is not open.
    """
    if accepted is None:
        return (NEVER,)
    if present is None:
        return (STARTING,)
    before, now = asdict(accepted.subject), asdict(present)
    return tuple(f"{part}_changed" for part in now if now[part] != before[part])


class AcceptanceFile:
    """What was signed last: looked at once a second, and read when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._damaged = False
        self.accepted: Acceptance | None = None

    def look(self) -> None:
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                self.accepted = Acceptance.model_validate_json(self._path.read_bytes())
                self._seen, self._damaged = seen, False
        except FileNotFoundError:
            self._seen, self.accepted, self._damaged = (), None, False
        except (OSError, ValidationError):
            self._seen, self.accepted, self._damaged = (), None, True

    def why_not(self, present: Subject | None) -> tuple[str, ...]:
        """The codes for what runs now, None while its engine is not open."""
        return (DAMAGED,) if self._damaged else why_not(self.accepted, present)

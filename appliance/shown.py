"""What people may see of a series' origin: enough to tell it from others, and no more is ever kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from appliance.findings.record import printable
from appliance.imaging.kernels import kernel_class
from appliance.records import Slice

Label = Literal["none", "accession_end", "accession"]

_LONGEST: Final = 64


@dataclass(frozen=True, slots=True)
class Shown:
    """`station` is its scanner's StationName, `label` what may be shown of the study, `number` the Series
    Number, and `kernel` the class of its kernel."""

    station: str = ""
    label: str = ""
    number: int | None = None
    kernel: str | None = None


def shown(one: Slice, label: Label) -> Shown:
    """What is kept of the series of a slice."""
    origin = one.origin
    return Shown(
        printable(origin.station)[:_LONGEST],
        _label(printable(origin.accession), label),
        origin.number if origin.number is not None and abs(origin.number) < 2**31 else None,
        kernel_class(one.header.kernel),
    )


def _label(accession: str, label: Label) -> str:
    match label:
        case "none":
            return ""
        case "accession_end":
            return f"…{accession[-4:]}" if accession else ""
        case "accession":
            return accession[:_LONGEST]

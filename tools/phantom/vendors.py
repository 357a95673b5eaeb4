"""How four makes of scanner fill a header. The scanners themselves are invented."""

from __future__ import annotations

from dataclasses import dataclass

from tools.phantom.chest import Kernel


@dataclass(frozen=True)
class Vendor:
    """Strings and pixel formats of one make.

    `kernels` and `algorithm` per kernel, `flavour` is the fourth value of ImageType, `intercept` of
    the stored values, `padding` what fills the corners outside of the reconstruction circle when asked for.
    """

    manufacturer: str
    model: str
    station: str
    software: str
    kernels: dict[Kernel, str]
    flavour: str | None
    bits_stored: int
    signed: bool
    intercept: int
    padding: int
    detector_mm: float
    source_mm: float
    focal_spot_mm: float
    total_collimation_mm: float
    single_collimation_mm: float
    protocol: str


VENDORS = (
    Vendor(
        "SIEMENS", "SOMATOM Phantom", "CTPHANTOM1", "syngo CT VA00A", {"soft": "B31f", "sharp": "B70f"},
        "CT_SOM5 SPI", 12, False, -1024, 0, 1085.6, 595.0, 1.2, 38.4, 0.6, "ThorRoutine",
    ),
    Vendor(
        "GE MEDICAL SYSTEMS", "Revolution Phantom", "CTPHANTOM2", "00HW00.0", {"soft": "STANDARD", "sharp": "LUNG"},
        None, 16, True, -1024, -2000, 949.0, 541.0, 1.2, 40.0, 0.625, "5.1 Chest Routine",
    ),
    Vendor(
        "Philips", "Ingenuity Phantom", "CTPHANTOM3", "4.1.0", {"soft": "B", "sharp": "L"},
        "HELIX", 12, False, -1024, 0, 1040.0, 570.0, 1.0, 40.0, 0.625, "Thorax Routine",
    ),
    Vendor(
        "TOSHIBA", "Aquilion Phantom", "CTPHANTOM4", "V0.00", {"soft": "FC08", "sharp": "FC52"},
        None, 16, True, 0, -2048, 1072.0, 600.0, 0.9, 32.0, 0.5, "Chest Helical",
    ),
)  # fmt: skip


def vendor_of(seed: int) -> Vendor:
    return VENDORS[seed % len(VENDORS)]

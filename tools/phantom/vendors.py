"""How four makes of scanner fill a header. The scanners themselves are invented."""

from __future__ import annotations

from dataclasses import dataclass

from tools.phantom.chest import Kernel


@dataclass(frozen=True)
class Vendor:
    """Strings and pixel formats of one make.

    `flavour` is the fourth value of ImageType, `intercept` the RescaleIntercept, `padding` the stored
    value that fills the corners outside of the reconstruction circle when asked for. Lengths are in mm.
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
        manufacturer="SIEMENS",
        model="SOMATOM Phantom",
        station="CTPHANTOM1",
        software="syngo CT VA00A",
        kernels={"soft": "B31f", "sharp": "B70f"},
        flavour="CT_SOM5 SPI",
        bits_stored=12,
        signed=False,
        intercept=-1024,
        padding=0,
        detector_mm=1085.6,
        source_mm=595.0,
        focal_spot_mm=1.2,
        total_collimation_mm=38.4,
        single_collimation_mm=0.6,
        protocol="ThorRoutine",
    ),
    Vendor(
        manufacturer="GE MEDICAL SYSTEMS",
        model="Revolution Phantom",
        station="CTPHANTOM2",
        software="00HW00.0",
        kernels={"soft": "STANDARD", "sharp": "LUNG"},
        flavour=None,
        bits_stored=16,
        signed=True,
        intercept=-1024,
        padding=-2000,
        detector_mm=949.0,
        source_mm=541.0,
        focal_spot_mm=1.2,
        total_collimation_mm=40.0,
        single_collimation_mm=0.625,
        protocol="5.1 Chest Routine",
    ),
    Vendor(
        manufacturer="Philips",
        model="Ingenuity Phantom",
        station="CTPHANTOM3",
        software="4.1.0",
        kernels={"soft": "B", "sharp": "L"},
        flavour="HELIX",
        bits_stored=12,
        signed=False,
        intercept=-1024,
        padding=0,
        detector_mm=1040.0,
        source_mm=570.0,
        focal_spot_mm=1.0,
        total_collimation_mm=40.0,
        single_collimation_mm=0.625,
        protocol="Thorax Routine",
    ),
    Vendor(
        manufacturer="TOSHIBA",
        model="Aquilion Phantom",
        station="CTPHANTOM4",
        software="V0.00",
        kernels={"soft": "FC08", "sharp": "FC52"},
        flavour=None,
        bits_stored=16,
        signed=True,
        intercept=0,
        padding=-2048,
        detector_mm=1072.0,
        source_mm=600.0,
        focal_spot_mm=0.9,
        total_collimation_mm=32.0,
        single_collimation_mm=0.5,
        protocol="Chest Helical",
    ),
)


def vendor_of(seed: int) -> Vendor:
    return VENDORS[seed % len(VENDORS)]

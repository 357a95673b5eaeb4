"""Which series are a chest that the model may read. Pure rules; a refusal names the rule, value and limit.

They are tried in the order of the functions here: modality and image type, pixels that cannot be read, lung,
geometry, what the model was made for. A damaged slice comes before lung, so that it never turns a chest into
one without lung.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pydicom import uid

from appliance.imaging.geometry import Stack, mixed_patient, some, typical_spacing
from appliance.imaging.kernels import kernel_class
from appliance.imaging.orientation import degrees_off_axial
from appliance.reasons import RULES, Reason
from appliance.records import Header, LungSection, Problem, Slice
from engines.spec import Accepted

MIN_SLICES: Final = 20
_LUNG_OF_A_FEW_MM2: Final = 5000.0
_END_PART: Final = 0.2
_THICKNESS_TOLERANCE_MM: Final = 0.01
_MODALITY: Final = re.compile(
    "AR|ASMT|AU|BDUS|BI|BMD|CR|CT|CTPROTOCOL|DG|DMS|DOC|DX|ECG|EEG|EMG|EOG|EPS|ES|FID|GM|HC|HD|IO|IOL|IVOCT"
    "|IVUS|KER|KO|LEN|LS|M3D|MG|MR|NM|OAM|OCT|OP|OPM|OPT|OPTBSV|OPTENF|OPV|OSS|OT|PA|PLAN|POS|PR|PT|PX|REG"
    "|RESP|RF|RG|RTDOSE|RTIMAGE|RTINTENT|RTPLAN|RTRAD|RTRECORD|RTSEGANN|RTSTRUCT|RWV|SEG|SM|SMR|SR|SRF|STAIN"
    "|TEXTUREMAP|TG|US|VA|XA|XAPROTOCOL|XC"
)
"""The defined terms of Modality (PS3.3 C.7.3.1.1.1)."""

_IMAGE_TYPE: Final = re.compile(
    "|ORIGINAL|DERIVED|MIXED|PRIMARY|SECONDARY|AXIAL|LOCALIZER|SCOUT|TOPOGRAM|REFORMATTED|RESAMPLED|AVERAGE"
    "|MPR|MIP|CSA MPR|CSA 3D|PROJECTION IMAGE|SCREEN SAVE|DOSE|DOSE_INFO|HELIX|VOLUME|OTHER"
)
"""Values of Image Type that are defined (PS3.3 C.8.16.1), or that scanners use."""

_CT_CLASSES: Final = frozenset(
    (uid.CTImageStorage, uid.EnhancedCTImageStorage, uid.LegacyConvertedEnhancedCTImageStorage)
)


def image_type(headers: Sequence[Header]) -> Problem | None:
    """Modality and image type (PS3.3 C.8.2.1.1.1). A series is put aside only when every object in it is; an
    odd object among slices is left to the rules on geometry."""
    kinds = [_kind(header) for header in headers]
    if any(kind is None for kind in kinds):
        return None
    for reason in (Reason.LOCALIZER, Reason.NOT_CT, Reason.NO_PIXELS, Reason.DERIVED):
        if reason in kinds:
            return Problem(reason, _KINDS[reason].format(_named(headers[kinds.index(reason)], reason)))
    raise AssertionError(kinds)


def mixed_kinds(headers: Sequence[Header], names: Sequence[str]) -> Problem | None:
    """Slices and objects that are not slices of one CT under one Series Instance UID."""
    kinds = {i: kind for i, kind in enumerate(map(_kind, headers)) if kind is not None}
    if not kinds:
        return None
    example = min(kinds, key=lambda i: names[i])
    return Problem(
        Reason.MORE_THAN_ONE_STACK,
        f"{some(len(kinds), len(names), names[example])}: The object is no original CT slice"
        f" ({RULES[kinds[example]].sentence}): export it as a series of its own.",
    )


_KINDS: Final = {
    Reason.LOCALIZER: "Image Type is {}, a localizer: nothing is to be done.",
    Reason.NOT_CT: "Modality is {}, and CT is needed: nothing is to be done.",
    Reason.NO_PIXELS: "The objects carry no Pixel Data ({}): should they be images, export them whole.",
    Reason.DERIVED: "The image is {}, and original slices are needed: should they not be on their way, export"
    " them.",
}


def _kind(header: Header) -> Reason | None:
    """The rule by which an object is no original CT slice."""
    if header.modality == "CT" and "LOCALIZER" in header.image_type:
        return Reason.LOCALIZER
    if header.modality != "CT":
        return Reason.NOT_CT
    if not header.has_pixels:
        return Reason.NO_PIXELS
    derived = "DERIVED" in header.image_type[:1] or "SECONDARY" in header.image_type[1:2]
    colour = header.samples_per_pixel != 1 or not header.photometric.startswith("MONOCHROME")
    if derived or colour or header.sop_class_uid not in _CT_CLASSES:
        return Reason.DERIVED
    return None


def _named(header: Header, reason: Reason) -> str:
    if reason is Reason.NOT_CT:
        return _quoted(header.modality, _MODALITY) if header.modality else "absent"
    sop_class = uid.UID(header.sop_class_uid)
    known = sop_class.name if sop_class.name != sop_class else "of an unknown class"
    if reason is Reason.NO_PIXELS or header.sop_class_uid not in _CT_CLASSES:
        return known
    if reason is Reason.DERIVED and header.samples_per_pixel != 1:
        return "a colour picture"
    return "\\".join(_quoted(value, _IMAGE_TYPE) for value in header.image_type[:3])


def _quoted(value: str, known: re.Pattern[str]) -> str:
    """A known value: anything else may be a patient's name in a wrong place."""
    return value if known.fullmatch(value) else "no known code"


def pixel_problem(slices: Sequence[Slice]) -> Problem | None:
    """The pixels of one or more slices that could not be read; the reason that most of them share.

    Where not all of them lack pixels, those that do are damaged.
    """
    problems = {i: _as_damage(one.problem) for i, one in enumerate(slices) if one.problem is not None}
    if not problems:
        return None
    reasons = Counter(problem.reason for problem in problems.values())
    reason = min(reasons, key=lambda each: (-reasons[each], each))
    details = Counter(problem.detail for problem in problems.values() if problem.reason is reason)
    detail = min(details, key=lambda each: (-details[each], each))
    example = min(slices[i].arrival.path.name for i, one in problems.items() if one.detail == detail)
    return Problem(reason, f"{some(reasons[reason], len(slices), example)}: {detail}")


def _as_damage(problem: Problem) -> Problem:
    return replace(problem, reason=Reason.DAMAGED_PIXELS) if problem.reason is Reason.NO_PIXELS else problem


def no_lung(headers: Sequence[Header], lungs: Sequence[LungSection], lung_min_ml: float) -> Problem | None:
    """Too little lung in the pixels. A few slices cannot hold that much: there the largest section counts."""
    if len(lungs) < MIN_SLICES:
        largest = max(lung.area_mm2 for lung in lungs)
        if largest >= _LUNG_OF_A_FEW_MM2:
            return None
        found, needed = f"{largest / 100:.0f} cm² in the fullest slice", f"{_LUNG_OF_A_FEW_MM2 / 100:.0f} cm²"
    else:
        millilitres = sum(lung.area_mm2 for lung in lungs) * typical_spacing(headers) / 1000
        if millilitres >= lung_min_ml:
            return None
        found, needed = f"{millilitres:.0f} ml", f"{lung_min_ml:g} ml"
    return Problem(
        Reason.NO_LUNG,
        f"The pixels hold {found} of lung, and a chest has at least {needed}: should this be a chest, it"
        " needs a radiologist.",
    )


def geometry(
    headers: Sequence[Header], names: Sequence[str], stack: Stack | Problem, tolerance_deg: float
) -> Problem | None:
    """One patient, one kind of object, axial, enough slices, evenly spaced."""
    problem = (
        mixed_patient(headers, names) or mixed_kinds(headers, names) or _not_axial(headers, tolerance_deg)
    )
    if problem is not None:
        return problem
    if len(headers) < MIN_SLICES:
        return Problem(
            Reason.TOO_FEW_SLICES,
            f"The series has {len(headers)} slice{'s' if len(headers) > 1 else ''}, and a chest has at least"
            f" {MIN_SLICES}: should this be a chest, export all of it.",
        )
    return stack if isinstance(stack, Problem) else stack.problem


def _not_axial(headers: Sequence[Header], tolerance_deg: float) -> Problem | None:
    """Applies where every slice is off axial; some among axial ones are a mixed orientation."""
    angles = [degrees_off_axial(header.orientation) for header in headers if header.orientation is not None]
    if not angles or min(angles) <= tolerance_deg:
        return None
    return Problem(
        Reason.NOT_AXIAL,
        f"The slices are {min(angles):.0f} degrees off axial, with at most {tolerance_deg:g} allowed: should"
        " the axial ones not be on their way, export them.",
    )


def accepted_range(headers: Sequence[Header], stack: Stack, accepted: Accepted) -> Problem | None:
    """What the model was made for (its specification)."""
    least, most = accepted.slice_spacing_mm
    spacing = stack.spacing_mm[0]
    thickest = max((header.slice_thickness or 0.0 for header in headers), default=0.0)
    if max(spacing, thickest) > most + _THICKNESS_TOLERANCE_MM:
        return Problem(
            Reason.TOO_THICK,
            f"The slices are {thickest:g} mm thick and {spacing:g} mm apart, and {most:g} mm is the limit:"
            " reconstruct thinner ones.",
        )
    if spacing < least - _THICKNESS_TOLERANCE_MM:
        return _outside("The slices are {} apart", spacing, (least, most), " mm")
    if not accepted.contrast and any(header.contrast for header in headers):
        return Problem(
            Reason.CONTRAST,
            "The header names a contrast agent, and the model was made for scans without: it needs a"
            " radiologist.",
        )
    for header in sorted(headers, key=lambda header: header.sop_instance_uid):
        its_class = kernel_class(header.kernel)
        if its_class not in accepted.kernels:
            named = f"{header.kernel} " if its_class != "unknown" else ""
            return Problem(
                Reason.OUTSIDE_INTENDED_USE,
                f"The kernel {named}is of the class {its_class}, and the model was made for"
                f" {', '.join(accepted.kernels)}: reconstruct with another kernel.",
            )
        problem = (
            _beyond(header.kvp, accepted.kvp)
            and _outside("The tube voltage is {}", header.kvp, accepted.kvp, " kV")
        ) or (
            _beyond(header.age_years, accepted.age_years)
            and _outside("The age is {}", header.age_years, accepted.age_years, " years")
        )
        if problem:
            return problem
    return None


def _beyond(value: float | None, limits: tuple[float, float] | None) -> bool:
    return value is not None and limits is not None and not limits[0] <= value <= limits[1]


def _outside(what: str, value: float | None, limits: tuple[float, float] | None, unit: str) -> Problem:
    assert value is not None
    assert limits is not None
    sentence = what + ", and the model was made for {} to {}: it needs a radiologist."
    return Problem(
        Reason.OUTSIDE_INTENDED_USE, sentence.format(*(f"{number:g}{unit}" for number in (value, *limits)))
    )


def incomplete_lung(lungs: Sequence[LungSection]) -> Problem | None:
    """Lung cut off at an end: a whole chest ends in small sections (1 to 13 % of the largest)."""
    largest = max(lung.area_mm2 for lung in lungs)
    end = max(lungs[0].area_mm2, lungs[-1].area_mm2)
    if largest == 0 or end <= _END_PART * largest:
        return None
    return Problem(
        Reason.INCOMPLETE_LUNG,
        f"An end slice holds {100 * end / largest:.0f} % of the largest lung section, with at most"
        f" {100 * _END_PART:.0f} % in a whole chest: look for the rest of the scan.",
    )

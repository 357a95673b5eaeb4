"""Whole series, real and synthetic: what is read, what is refused and by which rule."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import chest, write_volume

from appliance.imaging import IMAGING_VERSION
from appliance.imaging.assess import Policy, assess, order
from appliance.imaging.slices import read_slice
from appliance.reasons import Reason
from appliance.records import Assessment, Problem, Slice, SlicePlan
from engines.spec import Accepted, Grid

GRID = Grid(size=(80, 128, 128), spacing_mm=(5.0, 3.2, 3.2))
PLAN = SlicePlan((3.2, 3.2), (128, 128), keep_native=True)
POLICY = Policy(Accepted())
SPACING = (5.0, 3.5, 3.5)


def read(paths: Sequence[Path]) -> list[Slice]:
    return [read_slice(path, PLAN) for path in paths]


def judged(slices: Sequence[Slice], policy: Policy = POLICY, grid: Grid = GRID) -> Assessment:
    return assess(slices, grid, policy)


def reason_of(slices: Sequence[Slice], policy: Policy = POLICY) -> Reason | None:
    problem = judged(slices, policy).problem
    return problem.reason if problem else None


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> list[Slice]:
    return read(write_volume(tmp_path_factory.mktemp("healthy"), chest(), spacing=SPACING))


def change(slices: Sequence[Slice], which: slice = slice(None), **header: object) -> list[Slice]:
    changed = list(slices)
    changed[which] = [replace(one, header=replace(one.header, **header)) for one in changed[which]]
    return changed


# --- real scans -----------------------------------------------------------------------------------------


def expected_digest(paths: Sequence[Path], uid: str) -> str:
    """What SimpleITK's own reader makes of the series."""
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed (extra `bench`)")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(paths[0].parent), uid))
    image = reader.Execute()
    return hashlib.sha256(sitk.GetArrayFromImage(image).astype("<i2").tobytes()).hexdigest()


@pytest.mark.parametrize("name", ["covid-P001", "cap-001", "normal-001"])
def test_real_chests_are_read(name: str, scan: Callable[[str], list[Path]]) -> None:
    slices = read(scan(name))
    found = judged(slices)
    assert found.problem is None
    assert found.unless_flagged is None
    assert found.geometry is not None
    assert found.geometry.spacing_mm[0] == pytest.approx(2.0)
    assert found.geometry.hu_sha256 == expected_digest(scan(name), slices[0].header.series_uid)
    assert found.volume is not None
    assert found.volume.hu.shape == GRID.size
    assert np.isfinite(found.volume.hu).all()
    assert found.volume.hu.min() >= -1024


@pytest.mark.parametrize(
    ("name", "spacing"),
    [
        # SimpleITK says 5.63 mm, the mean, where distances run from 1 to 7 mm; ours is the median.
        ("ge-tilt-variable-spacing", 4.0019),
        # SimpleITK says 2.5 mm, the distance along the table; ours is across the tilted slices.
        ("philips-tilt", 2.5 * np.cos(np.radians(16.5))),
    ],
)
def test_real_heads_hold_no_lung(name: str, spacing: float, scan: Callable[[str], list[Path]]) -> None:
    slices = read(scan(name))
    found = judged(slices)
    assert found.problem is not None
    assert found.problem.reason is Reason.NO_LUNG
    assert found.geometry is not None
    assert found.geometry.spacing_mm[0] == pytest.approx(spacing, abs=1e-3)
    assert found.geometry.hu_sha256 == expected_digest(scan(name), slices[0].header.series_uid)


def test_real_localizers_are_localizers(scan: Callable[[str], list[Path]]) -> None:
    for path in scan("philips-localizers"):
        (one,) = read([path])
        found = judged([one])
        assert found.problem is not None
        assert found.problem.reason is Reason.LOCALIZER
        assert found.geometry is not None
        assert found.geometry.hu_sha256 == expected_digest([path], one.header.series_uid)


def test_one_slice_of_a_real_head_or_chest(scan: Callable[[str], list[Path]]) -> None:
    assert reason_of(read(scan("philips-tilt")[:1])) is Reason.NO_LUNG
    middle = sorted(read(scan("covid-P001")[::8]), key=lambda one: one.lung.area_mm2 if one.lung else 0)[-1]
    assert reason_of([middle]) is Reason.TOO_FEW_SLICES


@pytest.mark.parametrize("keep", ["head", "feet"])
def test_half_a_real_chest_is_incomplete_unless_flagged(keep: str, scan: Callable[[str], list[Path]]) -> None:
    ordered = order(read(scan("cap-001")))
    assert not isinstance(ordered, Problem)
    half = ordered[84:] if keep == "head" else ordered[:84]
    found = judged(half)
    assert found.problem is None
    assert found.volume is not None
    assert found.unless_flagged is not None
    assert found.unless_flagged.reason is Reason.INCOMPLETE_LUNG


# --- synthetic series -----------------------------------------------------------------------------------


def test_a_chest_is_read_and_its_geometry_told(healthy: list[Slice]) -> None:
    found = judged(healthy)
    assert found.problem is None
    assert found.unless_flagged is None
    assert found.geometry is not None
    hu = chest()
    assert found.geometry.size == hu.shape
    assert (found.geometry.hu_min, found.geometry.hu_max) == (-1000, 40)
    assert found.geometry.hu_mean == pytest.approx(hu.mean())
    assert found.geometry.hu_sha256 == hashlib.sha256(hu.astype("<i2").tobytes()).hexdigest()


def test_the_order_of_arrival_changes_nothing(healthy: list[Slice]) -> None:
    plain = judged(healthy)
    rng = np.random.default_rng(7)
    for _ in range(3):
        other = judged([healthy[i] for i in rng.permutation(len(healthy))])
        assert other.geometry == plain.geometry
        assert plain.volume is not None
        assert other.volume is not None
        np.testing.assert_array_equal(other.volume.hu, plain.volume.hu)
        assert other.volume.origin_mm == plain.volume.origin_mm


@pytest.mark.parametrize(("right", "left"), [(True, False), (False, True)])
def test_a_chest_with_one_white_lung_is_read(right: bool, left: bool, tmp_path: Path) -> None:
    slices = read(write_volume(tmp_path, chest(right=right, left=left), spacing=SPACING))
    assert judged(slices).problem is None


def test_a_body_without_lung(tmp_path: Path) -> None:
    slices = read(write_volume(tmp_path, chest(right=False, left=False), spacing=SPACING))
    found = judged(slices)
    assert found.problem is not None
    assert found.problem.reason is Reason.NO_LUNG
    assert "0 ml" in found.problem.detail
    assert "500 ml" in found.problem.detail
    assert found.geometry is not None


def test_the_least_lung_is_the_sites_choice(healthy: list[Slice]) -> None:
    assert reason_of(healthy, replace(POLICY, lung_min_ml=20000)) is Reason.NO_LUNG


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"modality": "MR"}, Reason.NOT_CT),
        ({"modality": ""}, Reason.NOT_CT),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, Reason.LOCALIZER),
        ({"image_type": ("DERIVED", "PRIMARY", "AXIAL")}, Reason.DERIVED),
        ({"image_type": ("ORIGINAL", "SECONDARY", "OTHER")}, Reason.DERIVED),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.7"}, Reason.DERIVED),
        ({"photometric": "RGB", "samples_per_pixel": 3}, Reason.DERIVED),
        ({"has_pixels": False}, Reason.NO_PIXELS),
        ({"orientation": (1.0, 0, 0, 0, 0, -1.0)}, Reason.NOT_AXIAL),
        ({"contrast": True}, Reason.CONTRAST),
        ({"slice_thickness": 7.5}, Reason.TOO_THICK),
    ],
)
def test_a_rule_names_itself(header: dict[str, object], reason: Reason, healthy: list[Slice]) -> None:
    slices = change(healthy, **header)
    if reason is Reason.NOT_AXIAL:
        slices = [
            replace(one, header=replace(one.header, position=(0.0, 5.0 * k, 0.0)))
            for k, one in enumerate(slices)
        ]
    assert reason_of(slices) is reason


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ({"modality": "MR"}, "Modality is MR, and"),
        ({"modality": "Doe^Jane"}, "Modality is no known code, and"),
        ({"modality": "DOE"}, "Modality is no known code, and"),
        ({"image_type": ("DERIVED", "JANE DOE", "AXIAL")}, "The image is DERIVED\\no known code\\AXIAL, and"),
        ({"kernel": "B60f"}, "The kernel B60f is of the class sharp"),
        ({"kernel": "Doe^Jane"}, "The kernel is of the class unknown"),
    ],
)
def test_of_a_text_that_may_be_a_name_in_a_wrong_place_nothing_is_quoted(
    header: dict[str, object], sentence: str, healthy: list[Slice]
) -> None:
    found = judged(change(healthy, **header), Policy(Accepted(kernels=("soft",))))
    assert found.problem is not None
    assert sentence in found.problem.detail


def test_one_odd_object_among_slices_is_shown_not_put_aside(healthy: list[Slice]) -> None:
    assert (
        reason_of(change(healthy, slice(3, 4), image_type=("DERIVED", "PRIMARY")))
        is Reason.MORE_THAN_ONE_STACK
    )
    assert reason_of(change(healthy, slice(3, 4), modality="SR")) is Reason.MORE_THAN_ONE_STACK


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"patient": "other"}, Reason.MIXED_PATIENT),
        ({"rows": 12}, Reason.MIXED_SIZE),
        ({"orientation": (0.0, 1.0, 0, -1.0, 0, 0)}, Reason.MIXED_ORIENTATION),
        ({"position": (0.0, 0.0, 10.0)}, Reason.DUPLICATE_POSITION),
        ({"position": (0.0, 0.0, 16.0)}, Reason.UNEVEN_SPACING),
    ],
)
def test_one_slice_that_does_not_fit_is_shown(
    header: dict[str, object], reason: Reason, healthy: list[Slice]
) -> None:
    assert reason_of(change(healthy, slice(3, 4), **header)) is reason


def test_a_damaged_slice_is_not_a_chest_without_lung(healthy: list[Slice]) -> None:
    damage = Problem(Reason.DAMAGED_PIXELS, "The pixels end.")
    slices = [
        replace(one, plane=None, lung=None, native=None, hu_sum=None, problem=damage) for one in healthy
    ]
    found = judged(slices)
    assert found.problem == Problem(
        Reason.DAMAGED_PIXELS, "40 of 40 slices, 0001.dcm for one: The pixels end."
    )
    assert found.geometry is None
    one = judged([*healthy[:-1], slices[-1]]).problem
    assert one == Problem(Reason.DAMAGED_PIXELS, "1 of 40 slices, 0040.dcm: The pixels end.")


def test_a_localizer_that_cannot_be_decoded_is_a_localizer(healthy: list[Slice]) -> None:
    syntax = Problem(Reason.UNSUPPORTED_SYNTAX, "No.")
    slices = [
        replace(one, plane=None, lung=None, native=None, hu_sum=None, problem=syntax) for one in healthy
    ]
    assert reason_of(change(slices, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"))) is Reason.LOCALIZER


def test_lung_comes_before_geometry(tmp_path: Path, healthy: list[Slice]) -> None:
    empty = read(write_volume(tmp_path, chest(right=False, left=False), spacing=SPACING))
    assert reason_of(empty[:20] + empty[21:]) is Reason.NO_LUNG
    assert reason_of(healthy[:20] + healthy[21:]) is Reason.MISSING_SLICE


def test_few_slices_are_judged_by_their_fullest(healthy: list[Slice]) -> None:
    assert reason_of(healthy[18:22]) is Reason.TOO_FEW_SLICES
    assert reason_of(healthy[:1]) is Reason.NO_LUNG
    assert reason_of(healthy[10:29]) is Reason.TOO_FEW_SLICES
    assert reason_of(healthy[10:30]) is None


@pytest.mark.parametrize(
    ("accepted", "reason"),
    [
        (Accepted(kvp=(100, 120)), None),
        (Accepted(kvp=(80, 110)), Reason.OUTSIDE_INTENDED_USE),
        (Accepted(age_years=(18, 120)), None),
        (Accepted(age_years=(50, 120)), Reason.OUTSIDE_INTENDED_USE),
        (Accepted(kernels=("soft",)), None),
        (Accepted(kernels=("sharp",)), Reason.OUTSIDE_INTENDED_USE),
        (Accepted(slice_spacing_mm=(0, 4.9)), Reason.TOO_THICK),
        (Accepted(slice_spacing_mm=(5.1, 8)), Reason.OUTSIDE_INTENDED_USE),
    ],
)
def test_what_the_model_was_made_for(accepted: Accepted, reason: Reason | None, healthy: list[Slice]) -> None:
    assert reason_of(healthy, Policy(accepted)) is reason


def test_contrast_is_refused_only_where_the_model_refuses_it(healthy: list[Slice]) -> None:
    slices = change(healthy, contrast=True)
    assert reason_of(slices) is Reason.CONTRAST
    assert reason_of(slices, Policy(Accepted(contrast=True))) is None
    assert reason_of(change(healthy, contrast=False)) is None


def test_a_grid_too_small_is_told(healthy: list[Slice]) -> None:
    found = judged(healthy, grid=Grid(size=(30, 128, 128), spacing_mm=(5.0, 3.2, 3.2)))
    assert found.problem is not None
    assert found.problem.reason is Reason.EXCEEDS_GRID
    assert found.volume is None


def test_values_beyond_int16_have_no_digest_and_are_read(healthy: list[Slice]) -> None:
    slices = [replace(one, native=None) if k == 3 else one for k, one in enumerate(healthy)]
    found = judged(slices)
    assert found.geometry is not None
    assert found.geometry.hu_sha256 is None
    assert found.volume is not None


# --- the golden volume ----------------------------------------------------------------------------------

GOLDEN = {1: "e39be83d685ca2892d04b9c7562d42cb6b5c9ec0635a9758632b4f7a296b7e1a"}
"""SHA-256 of the model grid of one synthetic chest, by imaging version."""


def test_the_golden_volume(tmp_path: Path) -> None:
    """Fails when anything changes what a model sees: then raise IMAGING_VERSION and add the new digest."""
    hu = chest(slices=90, size=128) + np.random.default_rng(2021).integers(-30, 31, (90, 128, 128))
    paths = write_volume(
        tmp_path,
        hu,
        spacing=(2.2, 2.7, 2.7),
        orientation=(-1.0, 0, 0, 0, 1.0, 0),
        origin=(170.0, -171.3, 20.4),
    )
    volume = judged(read(paths)).volume
    assert volume is not None
    digest = hashlib.sha256(repr(volume.origin_mm).encode() + volume.hu.astype("<f4").tobytes()).hexdigest()
    assert digest == GOLDEN[IMAGING_VERSION]

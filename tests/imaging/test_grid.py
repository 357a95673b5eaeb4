"""The model grid is exact: a ramp stays a ramp and a bright voxel where it was, however it is stored."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from synthetic import write_volume

from appliance.imaging.geometry import Stack, stack
from appliance.imaging.grid import model_volume
from appliance.imaging.orientation import axes
from appliance.imaging.slices import read_slice
from appliance.reasons import Reason
from appliance.records import LungSection, Problem, Slice, SlicePlan, Volume
from engines.spec import Grid

NO_LUNG = LungSection(0.0, None)
GRID = Grid(size=(12, 20, 24), spacing_mm=(5.0, 4.0, 4.0))
AXIAL_ORIENTATIONS = [
    (*(sx * np.eye(3)[i]), *(sy * np.eye(3)[1 - i]))
    for i, sx, sy in itertools.product((0, 1), (1, -1), (1, -1))
]


def on_grid(
    slices: Sequence[Slice], grid: Grid = GRID, lungs: Sequence[LungSection] | None = None
) -> Volume | Problem:
    placed = stack([one.header for one in slices])
    assert isinstance(placed, Stack)
    assert placed.problem is None
    planes = [plane for i in placed.order if (plane := slices[i].plane) is not None]
    return model_volume(placed, planes, lungs or [NO_LUNG] * len(planes), grid)


def read(paths: Sequence[Path], grid: Grid = GRID) -> list[Slice]:
    plan = SlicePlan.for_grid(grid)
    return [read_slice(path, plan) for path in paths]


def centres(volume: Volume, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """LPS [3, D, H, W] of each voxel, its axes pointing along the unit vectors x, y and z."""
    indices = np.indices(volume.hu.shape)
    steps = [
        np.outer(axis * size, index).reshape(3, *index.shape)
        for axis, size, index in zip((z, y, x), volume.spacing_mm, indices, strict=True)
    ]
    return np.asarray(volume.origin_mm)[:, None, None, None] + sum(steps)


def stored(
    orientation: Sequence[float], shape: tuple[int, int, int], spacing: Sequence[float], turn: np.ndarray
) -> tuple[np.ndarray, tuple[float, ...], np.ndarray]:
    """Origin, orientation and LPS positions [3, z, y, x] of an image about one centre, turned."""
    along = axes((*(turn @ orientation[:3]), *(turn @ orientation[3:])))
    step = along.normal * spacing[0]
    origin = (
        np.array([5.0, -7.0, 11.0])
        - along.columns * spacing[2] * (shape[2] - 1) / 2
        - along.rows * spacing[1] * (shape[1] - 1) / 2
        - step * (shape[0] - 1) / 2
    )
    z, y, x = np.indices(shape)
    positions = (
        origin[:, None, None, None]
        + np.multiply.outer(step, z)
        + np.multiply.outer(along.rows * spacing[1], y)
        + np.multiply.outer(along.columns * spacing[2], x)
    )
    return origin, (*along.columns, *along.rows), positions


def turned(degrees: float, axis: int) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = [k for k in range(3) if k != axis]
    turn = np.eye(3)
    turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
    return turn


@pytest.mark.parametrize(
    "turn", [np.eye(3), turned(12, 0), turned(-15, 1), turned(9, 2)], ids=["axial", "x", "y", "z"]
)
@pytest.mark.parametrize(
    "orientation", AXIAL_ORIENTATIONS, ids=lambda o: "".join(f"{v:+.0f}" for v in o if v)
)
def test_a_ramp_has_its_values_at_the_voxels_positions(
    orientation: tuple[float, ...], turn: np.ndarray, tmp_path: Path
) -> None:
    """The mean of a linear function over whole voxels is its value at their middle."""
    shape, spacing = (24, 40, 36), (2.5, 2.0, 2.0)
    origin, kept, positions = stored(orientation, shape, spacing, turn)
    slope = np.array([4.0, 8.0, -4.0])  # whole values where nothing is turned
    hu = np.rint(np.tensordot(slope, positions, 1)).astype(int)
    volume = on_grid(read(write_volume(tmp_path, hu, origin=origin, spacing=spacing, orientation=kept)))
    assert isinstance(volume, Volume)
    expected = np.tensordot(slope, centres(volume, *turn.T), 1)
    inner = (slice(None), slice(5, -5), slice(5, -5))
    tolerance = 1e-3 if np.array_equal(turn, np.eye(3)) else 0.75
    np.testing.assert_allclose(volume.hu[inner], expected[inner], atol=tolerance)


def test_a_bright_voxel_is_at_its_position_however_it_is_stored(tmp_path: Path) -> None:
    shape, spacing = (30, 40, 36), (2.0, 1.5, 2.0)
    for number, orientation in enumerate(AXIAL_ORIENTATIONS):
        origin, kept, positions = stored(orientation, shape, spacing, np.eye(3))
        where = np.array([17.0, 10.0, -9.0])
        hu = np.full(shape, -1000)
        hu[np.unravel_index(np.argmin(((positions - where[:, None, None, None]) ** 2).sum(0)), shape)] = 3000
        paths = write_volume(tmp_path / str(number), hu, origin=origin, spacing=spacing, orientation=kept)
        volume = on_grid(read(paths))
        assert isinstance(volume, Volume)
        z, y, x = np.unravel_index(np.argmax(volume.hu), volume.hu.shape)
        found = np.asarray(volume.origin_mm) + np.array([x, y, z]) * volume.spacing_mm[::-1]
        assert np.all(
            np.abs(found - where) <= np.array(volume.spacing_mm[::-1]) / 2 + np.array([1.0, 0.75, 1.0])
        )


def stored_as(
    folder: Path, patient: np.ndarray, spacing: tuple[float, float, float], orientation: tuple[float, ...]
) -> list[Path]:
    """Voxels [z, y, x] in LPS, stored as an image of this orientation whose middle lies at (0, 0, 100)."""
    along = axes(orientation)
    transposed = orientation[0] == 0
    image = patient.transpose(0, 2, 1) if transposed else patient
    size = (spacing[0], *(spacing[:0:-1] if transposed else spacing[1:]))
    row, column = (along.columns[1], along.rows[0]) if transposed else (along.columns[0], along.rows[1])
    image = image[:: int(along.normal[2]), :: int(column), :: int(row)]
    origin = (
        np.array([0.0, 0.0, 100.0])
        - along.columns * size[2] * (image.shape[2] - 1) / 2
        - along.rows * size[1] * (image.shape[1] - 1) / 2
        - along.normal * size[0] * (image.shape[0] - 1) / 2
    )
    return write_volume(folder, image, origin=origin, spacing=size, orientation=orientation)


def test_all_ways_to_store_a_volume_give_one_result(tmp_path: Path) -> None:
    """The same voxels, flipped and transposed with their orientation, files in another order."""
    patient = np.random.default_rng(3).integers(-1024, 1200, (30, 40, 36))
    results = []
    for number, orientation in enumerate(AXIAL_ORIENTATIONS):
        paths = stored_as(tmp_path / str(number), patient, (2.0, 1.6, 2.1), orientation)
        results.append(on_grid(read(paths if number % 2 else paths[::-1])))
    first = results[0]
    assert isinstance(first, Volume)
    for other in results[1:]:
        assert isinstance(other, Volume)
        np.testing.assert_allclose(other.hu, first.hu, atol=1.3e-4)
        np.testing.assert_allclose(other.origin_mm, first.origin_mm, atol=1e-6)


def test_data_on_the_grid_passes_unchanged(tmp_path: Path) -> None:
    hu = np.random.default_rng(4).integers(-1024, 3000, GRID.size)
    paths = write_volume(tmp_path, hu, spacing=GRID.spacing_mm, origin=(-46, -38, 3.7))
    volume = on_grid(read(paths))
    assert isinstance(volume, Volume)
    np.testing.assert_array_equal(volume.hu, hu.astype(np.float32))
    assert volume.origin_mm == pytest.approx((-46, -38, 3.7))
    assert volume.hu.dtype == np.float32


def test_thin_slices_are_averaged_from_the_inferior_edge(tmp_path: Path) -> None:
    """2.5 mm to 5 mm: pairs from below; the last half cell is the mean of what there is."""
    values = np.arange(9) * 100
    hu = np.broadcast_to(values[:, None, None], (9, 20, 24))
    paths = write_volume(tmp_path, hu, spacing=(2.5, 4.0, 4.0))
    volume = on_grid(read(paths))
    assert isinstance(volume, Volume)
    profile = volume.hu[:, 10, 12]
    inside = profile[profile > -1024]
    np.testing.assert_allclose(inside, [50, 250, 450, 650, 800])


def test_padding_is_air_before_it_is_averaged(tmp_path: Path) -> None:
    hu = np.full((12, 40, 48), 0)
    hu[:, ::2] = -1900
    hu[:, :, ::2] = 500
    paths = write_volume(
        tmp_path,
        hu,
        spacing=(5.0, 2.0, 2.0),
        PixelRepresentation=1,
        BitsStored=16,
        HighBit=15,
        PixelPaddingValue=500 + 1024,
    )
    volume = on_grid(read(paths))
    assert isinstance(volume, Volume)
    np.testing.assert_allclose(volume.hu, (0 - 3 * 1024) / 4)


def test_outside_of_the_scan_is_fill(tmp_path: Path) -> None:
    paths = write_volume(tmp_path, np.zeros((6, 10, 12), int), spacing=(5.0, 4.0, 4.0))
    volume = on_grid(read(paths))
    assert isinstance(volume, Volume)
    inside = np.zeros(GRID.size, bool)
    inside[3:9, 5:15, 6:18] = True
    assert np.all(volume.hu[inside] == 0)
    assert np.all(volume.hu[~inside] == -1024)


def lung(rows: tuple[float, float], columns: tuple[float, float], area: float = 1000.0) -> LungSection:
    return LungSection(area, (*rows, *columns))


def test_a_grid_that_would_cut_lung_moves_by_whole_cells(tmp_path: Path) -> None:
    shape = (40, 40, 48)
    hu = np.random.default_rng(1).integers(-1000, 1000, shape)
    slices = read(write_volume(tmp_path, hu, spacing=GRID.spacing_mm))
    centred = on_grid(slices)
    lungs = [NO_LUNG] * 4 + [lung((-70.0, -10.0), (30.0, 90.0))] * 10 + [NO_LUNG] * 26
    moved = on_grid(slices, lungs=lungs)
    assert isinstance(centred, Volume)
    assert isinstance(moved, Volume)
    np.testing.assert_array_equal(centred.hu, hu[14:26, 10:30, 12:36])
    shift = (np.asarray(moved.origin_mm) - centred.origin_mm) / np.array(GRID.spacing_mm)[::-1]
    np.testing.assert_allclose(shift, np.rint(shift), atol=1e-9)
    z, y, x = np.array([14, 10, 12]) + np.rint(shift[::-1]).astype(int)
    expected = np.full(GRID.size, -1024)
    part = hu[z : z + 12, y : y + 20, x : x + 24]
    expected[: part.shape[0], : part.shape[1], : part.shape[2]] = part
    np.testing.assert_array_equal(moved.hu, expected)
    assert z <= 4
    assert z + 12 >= 14


@pytest.mark.parametrize(
    "lungs",
    [
        [lung((-41.0, 41.0), (-10.0, 10.0))] * 10,
        [lung((-10.0, 10.0), (-50.0, 50.0))] * 10,
        [lung((-10.0, 10.0), (-10.0, 10.0))] * 13,
    ],
    ids=["front to back", "side to side", "height"],
)
def test_lung_that_no_place_of_the_grid_holds_is_refused(lungs: list[LungSection], tmp_path: Path) -> None:
    slices = read(write_volume(tmp_path, np.zeros((40, 40, 48), int), spacing=GRID.spacing_mm))
    problem = on_grid(slices, lungs=[NO_LUNG] * 5 + lungs + [NO_LUNG] * (35 - len(lungs)))
    assert isinstance(problem, Problem)
    assert problem.reason is Reason.EXCEEDS_GRID
    assert "60 × 80 × 96 mm" in problem.detail


def test_the_grid_moves_to_the_lung_however_the_image_is_stored(tmp_path: Path) -> None:
    """Lung high up, at the back and on the left of a body larger than the grid."""
    z, y, x = np.indices((40, 60, 60))
    body = np.where(((y - 30) / 27) ** 2 + ((x - 30) / 28) ** 2 < 1, 40, -1000)
    body[((z - 30) / 8) ** 2 + ((y - 40) / 8) ** 2 + ((x - 42) / 8) ** 2 < 1] = -850
    grid = Grid(size=(10, 12, 14), spacing_mm=(5.0, 4.0, 4.0))
    results = []
    for number, orientation in enumerate(AXIAL_ORIENTATIONS):
        paths = stored_as(tmp_path / str(number), body, (2.5, 2.0, 2.0), orientation)
        slices = read(paths, grid)
        placed = stack([one.header for one in slices])
        assert isinstance(placed, Stack)
        volume = on_grid(slices, grid, [slices[i].lung or NO_LUNG for i in placed.order])
        assert isinstance(volume, Volume)
        results.append(volume)
        centre = np.argwhere(np.abs(volume.hu + 850) < 1).mean(0) * volume.spacing_mm
        np.testing.assert_allclose(
            np.asarray(volume.origin_mm) + centre[::-1], (25, 21, 126.25), atol=2.5
        )  # voxel (42, 40, 30) of the body, whose middle lies at (0, 0, 100)
    for other in results[1:]:
        np.testing.assert_allclose(other.hu, results[0].hu, atol=1.3e-4)
        np.testing.assert_allclose(other.origin_mm, results[0].origin_mm, atol=1e-6)


def test_a_bubble_of_gas_far_from_the_lungs_needs_no_room(tmp_path: Path) -> None:
    slices = read(write_volume(tmp_path, np.zeros((40, 40, 48), int), spacing=GRID.spacing_mm))
    lungs = [NO_LUNG] * 40
    lungs[20:31] = [lung((-10.0, 10.0), (-10.0, 10.0), 20000.0)] * 11
    lungs[2] = lung((-60.0, -50.0), (0.0, 10.0), 2000.0)
    assert isinstance(on_grid(slices, lungs=lungs), Volume)

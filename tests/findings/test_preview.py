"""The images of a reading, as a decoder of somebody else's sees them."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from appliance.findings.preview import COLOURS, NoPreview, Preview, png, render_preview
from appliance.records import Float32, Volume

SIZE = (6, 20, 30)


def volume(spacing: tuple[float, float, float] = (5.0, 2.0, 2.0)) -> Volume:
    """Air, with a piece of bone to the front, on the patient's right, in slice 4."""
    hu = np.full(SIZE, -1024, np.float32)
    hu[4, 2:5, 3:6] = 1300
    return Volume(hu, spacing, (0.0, 0.0, 0.0))


def heatmap() -> Float32:
    """High to the back on the left in the upper half."""
    heat = np.zeros((3, 4, 5), np.float32)
    heat[2, 3, 4] = 0.5
    return heat


def kept(folder: Path, of: Volume, heat: Float32 | None = None) -> Preview:
    path = folder / "preview.zip"
    path.write_bytes(render_preview(of, heat))
    return Preview.open(path)


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(imagecodecs.png_decode(content))


def test_an_image_lies_as_radiologists_look_at_it(tmp_path: Path) -> None:
    preview = kept(tmp_path, volume())
    assert (preview.slices, preview.spacing_mm) == (6, (5.0, 2.0, 2.0))
    image = decoded(preview.image(4, "bone", with_heat=False))
    assert (image.shape, image.dtype) == ((20, 30), np.uint8)
    # Anterior is above, and the patient's right on the left.
    assert {tuple(place) for place in np.argwhere(image == 255)} == {
        (row, column) for row in range(2, 5) for column in range(3, 6)
    }
    assert not decoded(preview.image(3, "bone", with_heat=False)).any()


@pytest.mark.parametrize(
    ("window", "black", "middle", "white"),
    [("lung", -1350, -600, 150), ("mediastinum", -160, 40, 240), ("bone", -500, 400, 1300)],
)
def test_windows_are_those_that_radiologists_know(
    tmp_path: Path, window: str, black: int, middle: int, white: int
) -> None:
    hu = np.full((1, 1, 4), -1024, np.float32)
    hu[0, 0] = [max(black, -1024), middle, white, white + 500]
    preview = kept(tmp_path, Volume(hu, (5.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    image = decoded(preview.image(0, window, with_heat=False))
    darkest = round(max(0, -1024 - black) / (white - black) * 255)
    assert image[0].tolist() == [darkest, 128, 255, 255]


def test_pixels_are_square_whatever_the_grid(tmp_path: Path) -> None:
    wide = decoded(kept(tmp_path, volume((5.0, 2.0, 1.0))).image(4, "bone", with_heat=False))
    assert wide.shape == (40, 30)
    high = decoded(kept(tmp_path, volume((5.0, 1.0, 2.0))).image(4, "bone", with_heat=False))
    assert high.shape == (20, 60)
    assert high[3, 8] == 255
    assert high[3, 40] == 0


def test_the_heatmap_is_colour_where_it_is_high_and_only_on_request(tmp_path: Path) -> None:
    preview = kept(tmp_path, volume(), heatmap())
    assert (preview.highest, preview.peak) == (0.5, 5)
    assert decoded(preview.image(5, "lung", with_heat=False)).ndim == 2
    image = decoded(preview.image(5, "lung", with_heat=True)).astype(int)
    assert image.shape == (20, 30, 3)
    colourful = np.ptp(image, axis=2)
    assert colourful[19, 29] > 0
    assert colourful[:10].max() == colourful[:, :15].max() == 0
    # The highest is the last colour over the grey.
    grey = decoded(preview.image(5, "lung", with_heat=False))[19, 29]
    assert image[19, 29].tolist() == [round(0.4 * grey + 0.6 * channel) for channel in COLOURS[-1]]
    assert np.ptp(decoded(preview.image(0, "lung", with_heat=True)).astype(int), axis=2).max() == 0


@pytest.mark.parametrize("heat", [None, np.zeros((3, 4, 5), np.float32)])
def test_without_a_heatmap_there_is_none(tmp_path: Path, heat: Float32 | None) -> None:
    preview = kept(tmp_path, volume(), heat)
    assert (preview.highest, preview.peak) == (None, None)
    assert decoded(preview.image(4, "lung", with_heat=True)).ndim == 2


def test_hounsfield_units_are_kept_as_they_are(tmp_path: Path) -> None:
    hu = np.linspace(-1024, 3000, 600, dtype=np.float32).reshape(1, 20, 30)
    kept(tmp_path, Volume(hu, (5.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    with zipfile.ZipFile(tmp_path / "preview.zip") as file:
        plane = np.frombuffer(file.read("0"), "<i2").reshape(20, 30)
    assert np.abs(plane - hu[0]).max() <= 0.5


def test_a_preview_that_is_cut_short_or_changed_is_none(tmp_path: Path) -> None:
    whole = render_preview(volume(), heatmap())
    path = tmp_path / "preview.zip"
    with pytest.raises(NoPreview):
        Preview.open(path)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(NoPreview):
            Preview.open(path)
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with contextlib.suppress(NoPreview):
            for number in range(6):
                Preview.open(path).image(number, "lung", with_heat=True)


def test_a_png_is_what_was_put_into_it() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(8, 32)
    assert np.array_equal(decoded(png(grey)), grey)
    colour = np.stack([grey, grey[::-1], grey // 2], axis=-1)
    assert np.array_equal(decoded(png(colour)), colour)

"""The images of a series over HTTP, as long as they are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import imagecodecs
import numpy as np
import pytest
from sample_journal import LiveBoard
from served import Served, died

from appliance.findings.preview import render_preview
from appliance.journal import Journal
from appliance.previews import preview_path
from appliance.records import Volume
from appliance.web.app import create_app

READ = "1.2.826.0.1.222222"
SERIES = 2


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The images of the second series."""
    hu = np.full((6, 20, 30), -600, np.float32)
    heat = np.zeros((3, 4, 5), np.float32)
    heat[1, 1, 1] = 0.25
    folder = tmp_path / "previews"
    folder.mkdir()
    path = preview_path(folder, f"key of {READ}")
    path.write_bytes(render_preview(Volume(hu, (5.0, 2.0, 2.0), (0.0, 0.0, 0.0)), heat))
    return path


@pytest.fixture
def images(board: LiveBoard, journal: Journal, kept: Path) -> Iterator[httpx.Client]:
    server = Served(create_app(board, journal.path, died, previews=kept.parent))
    server.start()
    with httpx.Client(base_url=f"{server.url}api/studies/1/series/", timeout=10) as client:
        yield client
    server.stop()


def test_what_there_is_to_see_and_what_the_colours_mean(images: httpx.Client) -> None:
    found = images.get(f"{SERIES}/images").json()
    assert {key: found[key] for key in ("slices", "spacing_mm", "heat", "peak")} == {
        "slices": 6,
        "spacing_mm": [5.0, 2.0, 2.0],
        "heat": True,
        "peak": 3,
    }
    assert [one["value"] for one in found["scale"]] == [0.0, 0.125, 0.25]
    assert found["windows"]["lung"] == {"centre": -600.0, "width": 1500.0}


def test_a_slice_is_an_image_that_nobody_keeps(images: httpx.Client) -> None:
    answer = images.get(f"{SERIES}/slices/3.png?window=lung&heat=no")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.headers["cache-control"] == "no-store"
    pixels = imagecodecs.png_decode(answer.content)
    assert pixels.shape == (20, 30)
    assert set(pixels.ravel().tolist()) == {128}
    with_heat = imagecodecs.png_decode(images.get(f"{SERIES}/slices/3.png?heat=yes").content)
    assert with_heat.shape == (20, 30, 3)
    assert images.get(f"{SERIES}/slices/0.png").status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("2/slices/6.png", 404, "This series has no slice with this number."),
        (f"2/slices/{2**70}.png", 404, "This series has no slice with this number."),
        ("2/slices/0.png?window=liver", 400, "window must be one of lung, mediastinum, bone."),
        ("2/slices/0.png?heat=1", 400, "heat must be yes or no."),
        ("3/images", 404, "No images are kept of this series."),
        ("3/slices/0.png", 404, "No images are kept of this series."),
        ("6/images", 404, "This study has no series with this number."),
        (f"{2**70}/images", 404, "This study has no series with this number."),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(
    images: httpx.Client, path: str, status: int, sentence: str
) -> None:
    answer = images.get(path)
    assert (answer.status_code, answer.json()) == (status, {"error": sentence})


def test_images_that_are_gone_or_damaged_are_not_kept(images: httpx.Client, kept: Path) -> None:
    whole = kept.read_bytes()
    # The members come before their directory, which still names them.
    kept.write_bytes(bytes(300) + whole[300:])
    assert images.get(f"{SERIES}/slices/0.png").status_code == 404
    kept.unlink()
    for path in (f"{SERIES}/images", f"{SERIES}/slices/0.png"):
        answer = images.get(path)
        assert (answer.status_code, answer.json()["error"]) == (404, "No images are kept of this series.")


def test_a_later_revision_shows_none_of_the_one_before(images: httpx.Client, journal: Journal) -> None:
    row = journal.series(READ, "1.2.826.0.1")
    current = journal.current(row.id)
    assert current is not None
    assert images.get(f"{SERIES}/images").status_code == 200
    later = replace(current, revision=2, reading_key="another", supersedes=current.reading_key)
    journal.end(row.id, [], [], finding=(later, "object", []))
    assert images.get(f"{SERIES}/images").status_code == 404

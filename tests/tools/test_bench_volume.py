"""The bench compares what is equal and says what it measured. Nothing here looks at a clock."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import typer

from appliance.imaging.isolation import SlicePool
from appliance.imaging.volume import read_volume
from tools.bench.series import prepare, uncompressed
from tools.bench.volume import by_pydicom, by_simpleitk, isolated, volume
from tools.phantom import Chest, Export, make_chest, write_series


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A small chest, where the bench looks for a real one."""
    folder = tmp_path_factory.mktemp("data") / "covid-P001"
    small = make_chest(Chest("clear", seed=3, slice_mm=5, matrix=128))
    return write_series(small, folder, Export(syntax="jpeg-lossless"))


def test_a_long_series_goes_on_where_the_chest_ends(chest: list[Path], tmp_path: Path) -> None:
    paths = uncompressed(chest, tmp_path / "long", 2 * len(chest) + 3)
    found = read_volume(paths)
    once = read_volume(chest)
    assert found.spacing_mm == pytest.approx(once.spacing_mm)
    np.testing.assert_array_equal(found.hu, np.concatenate((once.hu, once.hu, once.hu[:3])))
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    assert len({one.SOPInstanceUID for one in headers}) == len(paths)
    assert not headers[0].file_meta.TransferSyntaxUID.is_compressed
    assert headers[0].Manufacturer == pydicom.dcmread(chest[0]).Manufacturer


def test_every_reader_gives_the_same_voxels(chest: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("SimpleITK", reason="SimpleITK is not installed (extra `bench`)")
    paths = uncompressed(chest, tmp_path / "plain", len(chest))
    expected = by_simpleitk(paths)
    np.testing.assert_array_equal(by_pydicom(paths), expected)
    np.testing.assert_array_equal(read_volume(paths, threads=2).hu, expected)
    with SlicePool(2) as pool:
        np.testing.assert_array_equal(isolated(paths[::-1], pool), expected)


def test_without_a_real_chest_a_phantom_is_timed(
    monkeypatch: pytest.MonkeyPatch, chest: list[Path], tmp_path: Path
) -> None:
    monkeypatch.setattr("tools.bench.series._phantom", lambda _: tuple(chest))
    monkeypatch.setenv("SCANLIGHT_DATA", str(tmp_path / "nowhere"))
    assert [one.source for one in prepare(tmp_path)] == ["phantom", "phantom"]


def test_json_has_the_ratio_of_each_encoding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], chest: list[Path]
) -> None:
    pytest.importorskip("SimpleITK", reason="SimpleITK is not installed (extra `bench`)")
    monkeypatch.setenv("SCANLIGHT_DATA", str(chest[0].parents[1]))
    volume(as_json=True, rounds=1)
    told = json.loads(capsys.readouterr().out)
    assert {one["encoding"]: one["slices"] for one in told["series"]} == {
        "JPEG Lossless": len(chest),
        "uncompressed": 300,
    }
    for one in told["series"]:
        assert one["source"] == "covid-P001"
        peer, ours = one["median_ms"][one["fastest_peer"]], one["median_ms"]["one thread"]
        assert one["ratio_to_fastest_peer"] == pytest.approx(peer / ours, rel=0.02)
        assert one["peak_memory_mb"] > 0
        assert {"two threads", "isolated workers", "left after the last slice"} < one["median_ms"].keys()


def test_without_the_peer_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(typer.Exit) as ended:
        volume(as_json=False, rounds=1)
    assert ended.value.exit_code == 1
    told = capsys.readouterr().err
    assert "pip install 'scanlight[bench]'" in told
    assert len(told.splitlines()) == 1

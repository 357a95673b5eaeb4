"""`make gpu-wheels` and `make gpu-check`, as far as they go without a GPU."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest
import shim
from bundles import write_bundle

from engines.bundle import default_model, embedded_model
from tools.build_engine.plan import Plan, Target, build
from tools.build_engine.precision import mixed
from tools.build_engine.settle import always_fp32
from tools.build_engine.source import read_source
from tools.gpu import lots
from tools.gpu.check import (
    INCOMPLETE,
    INTERRUPTED,
    LEAST_S,
    _contract,
    _part,
    _Place,
    beyond_limits,
    check,
    cut_short,
    without_folders,
)
from tools.gpu.machine import Machine
from tools.gpu.measure import built
from tools.gpu.report import Part, incomplete, write
from tools.gpu.settled import settled
from tools.gpu.wheels import LOCKS, Locked, named, read_lock, select

ROOT = shim.ROOT
LOT = 400_000
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
MEASURED = {
    "model": "csac-net-edge",
    "grid": [80, 128, 128],
    "trained": True,
    "settled": True,
    "identity": {"flavour": "tensorrt-rtx 1.7", "device": "GeForce 256", "driver": "580.65.06"},
    "build_s": 0.5,
    "plan_mb": 4.7,
    "opened_after_s": 2.5,
    "speed": {
        "volumes": 2000,
        "volumes_per_s": 400.0,
        "p50_ms": 2.25,
        "p95_ms": 2.5,
        "p99_ms": 3.125,
        "slowest_ms": 9.5,
        "steps_ms": {"host_to_device": 0.5, "execute": 1.25},
        "memory_first_mib": 900.0,
        "memory_last_mib": 901.0,
        "memory_of": "of this process and of it on the GPU",
    },
    "against_cpu": {"volumes": 100, "largest_delta": 0.002, "flags_changed": 0, "lowest_correlation": 0.999},
}
ABOUT = lots.About("3.12", ["numpy"])
NO_GPU = Machine("", "there is no nvidia-smi", "", "", "", 0, "Debian", 2, PYTHON, "g++ 12", "")

WITH_GPU = Machine(
    "NVIDIA RTX A4000", "", "8.6", "16376 MiB", "580.65.06", 13000, "Debian", 8, "3.12.3", "", ""
)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "files"
    folder.mkdir()
    contents = {
        "large.whl": os.urandom(2 * LOT),
        "small.whl": b"small",
        "empty.whl": b"",
        "other.whl": b"o" * LOT,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return sorted(folder.iterdir())


def test_lots_are_no_larger_than_asked_for_and_come_together_again(files: list[Path], tmp_path: Path) -> None:
    out, joined = tmp_path / "out", tmp_path / "joined"
    count = lots.pack(files, out, LOT, ABOUT)
    folders = sorted(out.iterdir())
    assert len(folders) == count > 2
    for folder in folders:
        assert sum(file.stat().st_size for file in folder.iterdir()) <= LOT
    (out / "lot-02").rename(out / "lot-01" / "as it was copied")
    joined.mkdir()
    assert lots.unpack(out, joined) == ABOUT
    assert {one.name: one.read_bytes() for one in files} == {
        one.name: one.read_bytes() for one in joined.iterdir()
    }


def test_a_lot_that_is_missing_or_damaged_is_named(files: list[Path], tmp_path: Path) -> None:
    out, joined = tmp_path / "out", tmp_path / "joined"
    joined.mkdir()
    lots.pack(files, out, LOT, ABOUT)
    part = next(out.rglob("large.whl.001"))
    content = part.read_bytes()
    part.write_bytes(b"x" + content[1:])
    with pytest.raises(lots.LotError, match=r"large\.whl in .* is damaged: copy it again"):
        lots.unpack(out, joined)
    part.unlink()
    with pytest.raises(lots.LotError, match=r"has no large\.whl\.001: copy all lots into it"):
        lots.unpack(out, joined)
    next(out.rglob(lots.CONTENTS)).unlink()
    with pytest.raises(lots.LotError, match="which is in the first lot"):
        lots.unpack(out, joined)


@pytest.mark.parametrize(
    "content",
    ['{"about": {"python"', '{"about": {"python": "3.12"}, "files": []}', '{"files": []}', "[]", "ÿ"],
)
def test_contents_that_are_cut_short_or_of_another_version_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / lots.CONTENTS).write_text(content, encoding="latin-1")
    with pytest.raises(
        lots.LotError, match=r"^contents\.json in .* is cut short, or of another version: copy"
    ):
        lots.unpack(tmp_path, tmp_path)


def test_the_locks_name_what_each_python_needs_once_with_hashes() -> None:
    locked = [one for name in LOCKS for one in read_lock((ROOT / name).read_text())]
    assert all("--hash=sha256:" in one.text for one in locked)
    versions = set()
    for python in ("3.11", "3.12", "3.13"):
        chosen = list(select(locked, python, []))
        names = [one.name for one in chosen]
        assert {"pycuda", "numpy", "onnxruntime", "tensorrt-rtx-cu13-libs", "nvidia-cuda-runtime"} <= set(
            names
        )
        assert len(names) == len(set(names))
        assert not {"colorama", "pywin32"} & set(names)
        versions.add(next(one.text.partition(" ")[0] for one in chosen if one.name == "numpy"))
    assert len(versions) == 2


def test_what_the_machine_has_is_left_out() -> None:
    locked = [Locked("numpy", "", "numpy==2"), Locked("onnx", "python_version < '3.12'", "onnx==1")]
    assert [one.name for one in select(locked, "3.11", ["numpy"])] == ["onnx"]
    assert [one.name for one in select(locked, "3.12", ["numpy"])] == []


def test_have_is_read_with_blanks_and_commas() -> None:
    assert named("numpy,Typing_Extensions  onnx, ", {"numpy", "onnx", "typing-extensions"}) == [
        "numpy",
        "onnx",
        "typing-extensions",
    ]


def test_gpu_wheels_names_what_no_lock_file_has(tmp_path: Path) -> None:
    done = module("tools.gpu.wheels", tmp_path / "wheels", "--have", "numpy,nunpy, onx")
    assert done.returncode == 2
    assert done.stderr.startswith("HAVE names nunpy, onx, which no lock file has: give names of")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--python", "3.9"], "PYTHON_VERSION is 3.9: give one of 3.11, 3.12, 3.13."),
        ([], "is there already: remove it, or name another folder."),
    ],
)
def test_gpu_wheels_tells_what_is_wrong(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "something").touch()
    done = module("tools.gpu.wheels", tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.strip().endswith(said)
    assert len(done.stderr.splitlines()) == 1


def test_without_a_compiler_pycuda_says_so(tmp_path: Path) -> None:
    done = module("tools.gpu.pycuda", path=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "PyCUDA is built with g++, which is not installed: apt-get install g++\n"


def test_without_anything_the_check_says_what_it_could_not_do(tmp_path: Path) -> None:
    done = module("tools.gpu.check", tmp_path / "nowhere", "--out", tmp_path / "reports", path=str(tmp_path))
    assert done.returncode == INCOMPLETE, done.stderr
    assert done.stderr.splitlines()[-1].startswith("This check is not complete: GPU; a virtual environment; ")
    page, told = report_in(tmp_path / "reports")
    assert [part["verdict"] for part in told["parts"]] == ["not done"] * 7
    assert "**Nothing on this page is a result of a GPU**" in page
    assert "prepare one with make gpu-wheels" in page


@pytest.mark.parametrize(
    ("python", "spoil", "said"),
    [("3.1", False, "the folder is for Python 3.1 and this is"), (PYTHON, True, "is damaged: copy it again")],
)
def test_a_folder_that_does_not_fit_fails_and_is_reported(
    files: list[Path], tmp_path: Path, python: str, spoil: bool, said: str
) -> None:
    lots.pack(files, tmp_path / "wheels", None, lots.About(python, []))
    if spoil:
        next((tmp_path / "wheels").rglob("other.whl")).write_bytes(b"")
    done = module("tools.gpu.check", tmp_path / "wheels", "--out", tmp_path / "reports", path=str(tmp_path))
    assert done.returncode == 1
    page, told = report_in(tmp_path / "reports")
    assert [part["verdict"] for part in told["parts"]] == ["not done", "failed"] + ["not done"] * 5
    assert said in page


def test_a_report_has_the_measurements_and_the_name_of_the_gpu(tmp_path: Path) -> None:
    parts = [Part("GPU", "passed", "a | b"), Part("TensorRT, edge", "passed", "told", 12.0, MEASURED)]
    page = write(tmp_path, "2026-01-31", "0a03aef", WITH_GPU, parts)
    assert page.name == "2026-01-31-nvidia-rtx-a4000.md"
    text = page.read_text()
    for said in (
        "| latency, 99 % | 3.12 ms |",
        "over 2000 volumes",
        "100 phantoms",
        "| memory of this process and of it on the GPU | 900 MiB at first, 901 MiB at last |",
        "a \\| b",
        "execute, median",
    ):
        assert said in text
    assert "Nothing on this page" not in text
    assert json.loads(page.with_suffix(".json").read_text())["parts"][1]["measured"] == MEASURED


@pytest.mark.parametrize(
    ("group", "key", "value", "said"),
    [
        ("against_cpu", "largest_delta", 0.011, "differs by 0.0110"),
        ("against_cpu", "largest_delta", float("nan"), "differs by nan"),
        ("against_cpu", "flags_changed", 1, "1 flags differ"),
        ("against_cpu", "lowest_correlation", 0.98, "correlate by 0.980"),
        ("speed", "memory_last_mib", 917.0, "memory grew by 17 MiB over 2000 volumes"),
        ("speed", "memory_last_mib", float("nan"), "memory grew by nan MiB"),
    ],
)
def test_a_measurement_beyond_its_limit_fails(group: str, key: str, value: float, said: str) -> None:
    assert beyond_limits(MEASURED) == ""
    measured = copy.deepcopy(MEASURED)
    measured[group][key] = value
    assert said in beyond_limits(measured)
    measured["trained"] = False
    assert bool(beyond_limits(measured)) == (key not in ("flags_changed", "lowest_correlation"))


@pytest.mark.parametrize(
    ("volumes", "phantoms", "said"),
    [(1999, 100, "1,999 of 2,000 volumes were read"), (2000, 0, "0 of 100 phantoms were read")],
)
def test_what_was_cut_short_has_failed(volumes: int, phantoms: int, said: str) -> None:
    assert cut_short(MEASURED) == ""
    measured = copy.deepcopy(MEASURED)
    measured["speed"]["volumes"], measured["against_cpu"]["volumes"] = volumes, phantoms
    assert said in cut_short(measured)
    part = _part("TensorRT, edge", place(Path()), lambda: ("fast", measured), "")
    assert (part.verdict, part.measured) == ("failed", measured)


def test_an_interrupt_leaves_a_report_of_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tools.gpu.check._make_environment", interrupted)
    parts = list(check(place(tmp_path, WITH_GPU), tmp_path))
    assert [one.verdict for one in parts] == ["passed", *["not done"] * (len(parts) - 1)]
    assert {one.told for one in parts[1:]} == {INTERRUPTED}


def test_a_plan_is_built_with_what_the_gate_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX: make rtx")
    monkeypatch.setattr("tools.gpu.measure._target", lambda: Target("rtx", ("8.6",)))
    given: list[onnx.ModelProto] = []

    def noted(model: onnx.ModelProto, *rest: object) -> Plan:
        given.append(model)
        return build(model, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("tools.gpu.measure.build", noted)
    model, seconds, is_settled = built(default_model())
    assert is_settled
    assert seconds > 0
    assert model.bundle is not None
    assert model.bundle.plan.startswith(b"vtrt")
    graph, kept = read_source(default_model()).graph, settled(model.digest)
    assert kept is not None
    assert given[0] == mixed(graph, kept)
    assert given[0] != mixed(graph, frozenset(always_fp32(graph, all_half=False)))


def test_tests_that_hang_have_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = tmp_path / "hangs.py"
    hangs.write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr("tools.gpu.check.CONTRACT", str(hangs))
    monkeypatch.setattr("tools.gpu.check.LEAST_S", 0.0)
    with_gpu, without = (
        _part("contract", each, lambda each=each: _contract(each), "")
        for each in (place(tmp_path, machine, 2) for machine in (WITH_GPU, NO_GPU))
    )
    assert (with_gpu.verdict, without.verdict) == ("failed", "failed")
    assert "hung with the machine's driver" in with_gpu.told
    assert without.told == "it did not end in its time: give it more with ARGS='--minutes 30'"


def test_tests_that_end_after_all_had_passed_say_what_they_said_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_one.py").write_text("def test_one(): pass\n")
    (tmp_path / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.hookimpl(trylast=True)\n"
        "def pytest_unconfigure(config):\n"
        "    raise SystemExit('the device was lost')\n"
    )
    monkeypatch.setattr("tools.gpu.check.CONTRACT", str(tmp_path / "test_one.py"))
    site = place(tmp_path)
    part = _part("contract", site, lambda: _contract(site), "")
    assert (part.verdict, part.told) == ("failed", "the device was lost")


def test_a_full_disk_is_told_without_a_path(tmp_path: Path) -> None:
    def write_it() -> tuple[str, dict]:
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")
        raise AssertionError

    assert "No space left on device; check the room" in _part("files", place(tmp_path), write_it, "").told
    part = _part("files", place(tmp_path), (tmp_path / "a" / "b").read_text, "")
    assert part.verdict == "failed"
    assert part.told.startswith("b: No such file or directory; check the room on its disk")


def test_a_report_with_numbers_that_are_none_is_json_for_every_parser(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    measured = copy.deepcopy(MEASURED)
    measured["against_cpu"] |= {"volumes": 0, "largest_delta": float("nan")}
    measured["speed"]["steps_ms"]["execute"] = float("inf")
    part = Part("TensorRT, edge", "failed", "0 of 100 phantoms", 1.0, measured)
    page = write(tmp_path, "2026-01-31", "0a03aef", WITH_GPU, [part])
    (told,) = json.loads(page.with_suffix(".json").read_text(), parse_constant=refuse)["parts"]
    assert told["measured"]["against_cpu"] == measured["against_cpu"] | {"largest_delta": None}
    assert told["measured"]["speed"]["steps_ms"] == {"host_to_device": 0.5, "execute": None}
    assert "| largest difference of the probability | none is known |" in page.read_text()


def test_no_report_names_a_folder_of_the_machine() -> None:
    told = "/tmp/a1/files holds no pycuda-*.tar.gz: see '/home/me/x/a.log', docs/a/b or https://a.b/c/d"
    assert without_folders(told) == "files holds no pycuda-*.tar.gz: see 'a.log', docs/a/b or https://a.b/c/d"


@pytest.mark.parametrize("below", ["", "reports"])
def test_a_file_where_the_report_is_to_go_is_told(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    done = module("tools.gpu.check", tmp_path / "nowhere", "--out", tmp_path / "file" / below)
    assert done.returncode == 1
    assert "name a folder for the report with ARGS='--out FOLDER'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_second_report_of_a_day_has_another_name(tmp_path: Path) -> None:
    pages = [write(tmp_path, "2026-01-31", "0a03aef", NO_GPU, []) for _ in range(3)]
    assert [page.name for page in pages] == [f"2026-01-31-no-gpu{n}.md" for n in ("", "-2", "-3")]
    assert len(list(tmp_path.iterdir())) == 6


def test_a_check_with_a_part_that_is_not_done_is_not_complete(tmp_path: Path) -> None:
    parts = [Part("GPU", "passed", "told"), Part("TensorRT, edge", "not done", "no TensorRT")]
    said = "This check is not complete: TensorRT, edge not done on NVIDIA RTX A4000."
    assert incomplete(WITH_GPU, parts) == said
    assert f"**{said}**" in write(tmp_path, "2026-01-31", "0a03aef", WITH_GPU, parts).read_text()
    assert incomplete(NO_GPU, parts) == said.replace(WITH_GPU.gpu, "a machine without a GPU")
    assert incomplete(WITH_GPU, parts[:1]) == ""


def test_a_gpu_that_is_lost_ends_the_measurement_with_one_sentence(
    double_of_driver: dict[str, str], bundle: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.gpu.measure", bundle, "20"],
        cwd=ROOT,
        env=double_of_driver | {"SHIM_LOSE": "719@4"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("the GPU failed (cuStreamSynchronize failed: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_bundle_is_measured(double_of_driver: dict[str, str], tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle", embedded_model("densitometry").read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "tools.gpu.measure", bundle, "40"],
        cwd=ROOT,
        env=double_of_driver,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() == MEASURED.keys()
    assert found["speed"].keys() == MEASURED["speed"].keys()
    assert 0 < found["speed"]["p50_ms"] <= found["speed"]["p99_ms"] <= found["speed"]["slowest_ms"]
    assert found["against_cpu"]["volumes"] > 0
    assert beyond_limits(found) == ""


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("SCANLIGHT_WHOLE_GPU_CHECK"),
    reason="downloads 250 MB and takes minutes: SCANLIGHT_WHOLE_GPU_CHECK=1 runs it",
)
def test_the_whole_check_without_a_gpu(tmp_path: Path) -> None:
    prepared = module("tools.gpu.wheels", tmp_path / "wheels", "--python", PYTHON, "--lot-mb", "60")
    if "pip could not download" in prepared.stderr:
        pytest.skip("needs the network")
    assert prepared.returncode == 0, prepared.stderr
    for lot in (tmp_path / "wheels").iterdir():
        assert sum(file.stat().st_size for file in lot.iterdir()) <= 60_000_000
    # A machine that tests at the same time takes longer.
    words = (tmp_path / "wheels", "--out", tmp_path / "reports", "--minutes", "30")
    done = module("tools.gpu.check", *words, path=without_nvidia(tmp_path))
    assert done.returncode == INCOMPLETE, done.stderr
    page, told = report_in(tmp_path / "reports")
    assert {part["name"]: part["verdict"] for part in told["parts"]} == {
        "GPU": "not done",
        "a virtual environment": "passed",
        "PyCUDA": "passed",
        "functions of the driver": "not done",
        "contract of the runner": "passed",
        "TensorRT, edge": "not done",
        "TensorRT, full": "not done",
    }
    assert "0 skipped, with the tests' own driver" in page


def place(folder: Path, machine: Machine = NO_GPU, seconds: float = 2 * LEAST_S) -> _Place:
    """With the Python that runs this, and so much time."""
    return _Place(machine, folder, Path(sys.executable), time.monotonic() + seconds)


def module(name: str, *words: str | Path, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", name, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def report_in(folder: Path) -> tuple[str, dict]:
    (page,) = folder.glob("*.md")
    return page.read_text(), json.loads(page.with_suffix(".json").read_text())


def without_nvidia(tmp_path: Path) -> str:
    """A PATH that leads to everything but NVIDIA's programs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(place).glob("*"):
            if not program.name.startswith(("nvidia", "nvcc")):
                (folder / program.name).unlink(missing_ok=True)
                (folder / program.name).symlink_to(program)
    return str(folder)

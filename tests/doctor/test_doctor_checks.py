"""Each line of the acceptance test passes where it should and fails where it must."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from faulty_models import overconfident
from onnx import numpy_helper
from sample_bundle import make_bundle

from appliance.config import Config
from appliance.imaging import IMAGING_VERSION
from appliance.imaging.assess import Policy, assess
from appliance.imaging.isolation import SlicePool
from appliance.imaging.slices import read_slice, read_slices
from appliance.known_answers import SERIES, KnownAnswers, render
from appliance.reading import Rules, rules_for
from appliance.records import SlicePlan
from appliance.state_disk import StateDisk
from appliance.web.server import unix
from engines.bundle import ModelFile, ParityInfo, embedded_model, load_model
from engines.onnxruntime import OnnxRuntimeEngine
from engines.protocol import EngineError, EngineIdentity
from tools.doctor.cases import READ, SENSITIVITY, SPECIFICITY, LabelledCases, cases, judge
from tools.doctor.check import Check, Verdict
from tools.doctor.machine import machine, memory
from tools.doctor.model import hashes, known_answers
from tools.doctor.parity import Agreement, agreement, parity
from tools.doctor.service import BOOTED, daemon_pid, port, sandbox
from tools.doctor.speed import Run, run, speed
from tools.evaluate.cases import Cases, Unscored
from tools.evaluate.images import Joined

ROOT = Path(__file__).resolve().parent.parent.parent
PROCESS = "of this process"
Site = Callable[..., Config]
SmallChest = Callable[[str], list[Path]]


def verdicts(checks: Iterator[Check] | list[Check]) -> dict[str, Verdict]:
    return {check.name: check.verdict for check in checks}


@pytest.fixture(scope="module")
def pool() -> Iterator[SlicePool]:
    pool = SlicePool(1)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def densitometry() -> ModelFile:
    return load_model(embedded_model("densitometry"))


def otherwise(folder: Path, name: str, by: float) -> ModelFile:
    """The densitometry model as a device would run it that gets one of its constants wrong."""
    model = onnx.load(embedded_model("densitometry"))
    (constant,) = (one for one in model.graph.initializer if one.name == name)
    constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant) + np.float32(by), name))
    onnx.save(model, folder / "model.onnx")
    content = (folder / "model.onnx").read_bytes()
    return replace(load_model(embedded_model("densitometry")), content=content)


def test_an_engine_that_answers_as_it_should_passes(
    densitometry: ModelFile, pool: SlicePool, tmp_path: Path
) -> None:
    check = known_answers(densitometry, OnnxRuntimeEngine(densitometry), tmp_path, pool)
    assert check.verdict is Verdict.PASSED
    assert check.measured == "clear 0.0000, covid-left 0.9173"
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_computes_something_else_fails(
    densitometry: ModelFile, pool: SlicePool, tmp_path: Path
) -> None:
    wrong = OnnxRuntimeEngine(otherwise(tmp_path, "constant_11", 0.001))
    check = known_answers(densitometry, wrong, tmp_path / "kept", pool)
    assert check.verdict is Verdict.FAILED
    assert "probability 0.8" in check.measured
    assert check.remedy.startswith("do not use it")


def test_a_model_of_which_nothing_is_known_is_not_passed_until_the_service_kept_its_answers(
    pool: SlicePool, tmp_path: Path
) -> None:
    otherwise(tmp_path, "constant_11", 0.0005)
    own = load_model(tmp_path / "model.onnx")
    engine, kept = OnnxRuntimeEngine(own), tmp_path / "known-answers"
    assert known_answers(own, engine, kept, pool).verdict is Verdict.NOT_DONE

    answers = KnownAnswers(engine, rules_for(own.spec), read_slices, kept, StateDisk())
    found = answers.compute()
    answers.keep(found)
    assert known_answers(own, engine, kept, pool).verdict is Verdict.PASSED
    (file,) = kept.iterdir()
    file.write_text(render({**found, "clear": replace(found["clear"], probability=0.5)}))
    assert known_answers(own, engine, kept, pool).verdict is Verdict.FAILED
    file.rename(kept / f"{own.digest}-imaging{IMAGING_VERSION - 1}.json")
    assert known_answers(own, engine, kept, pool).verdict is Verdict.NOT_DONE


def test_the_answers_that_came_with_a_bundle_count(pool: SlicePool, tmp_path: Path) -> None:
    for off, verdict in ((0.0, Verdict.PASSED), (0.1, Verdict.FAILED)):
        bundle = load_model(make_bundle(tmp_path / f"{off}", probability_off=off))
        assert known_answers(bundle, OnnxRuntimeEngine(bundle), tmp_path, pool).verdict is verdict


def test_a_bundle_that_comes_without_an_answer_is_not_passed(pool: SlicePool, tmp_path: Path) -> None:
    bundle = load_model(make_bundle(tmp_path / "bundle"))
    assert bundle.bundle is not None
    silent = replace(bundle, bundle=replace(bundle.bundle, known_answers=b"{}"))
    check = known_answers(silent, OnnxRuntimeEngine(silent), tmp_path, pool)
    assert check.verdict is Verdict.FAILED
    assert "build the bundle again" in check.measured


def test_hashes_are_told_and_an_untrained_plan_fails(densitometry: ModelFile, tmp_path: Path) -> None:
    assert verdicts(hashes(densitometry)) == {"Hash of the model": Verdict.PASSED}
    changed = replace(densitometry, digest="0" * 64)
    assert verdicts(hashes(changed)) == {"Hash of the model": Verdict.FAILED}, (
        "under the name of one that ships"
    )
    otherwise(tmp_path, "constant_11", 0.0005)
    assert verdicts(hashes(load_model(tmp_path / "model.onnx"))) == {"Hash of the model": Verdict.NOT_DONE}
    assert set(verdicts(hashes(load_model(make_bundle(tmp_path / "good")))).values()) == {Verdict.PASSED}
    parity = ParityInfo(volumes=50, near=20, largest_delta=0.004, lowest_correlation=None, trained=False)
    untrained = load_model(make_bundle(tmp_path / "untrained", parity=parity))
    assert verdicts(hashes(untrained))["FP16 when it was built"] is Verdict.FAILED


def test_a_bundle_that_is_not_run_by_the_gpu_fails(site: Site, tmp_path: Path) -> None:
    bundle = load_model(make_bundle(tmp_path / "bundle"))
    fallen_back = OnnxRuntimeEngine(bundle, why="This machine has no NVIDIA GPU: look with nvidia-smi")
    found = list(machine(site(), bundle, fallen_back))
    assert found[0].verdict is Verdict.FAILED
    assert "no NVIDIA GPU" in found[0].measured
    chosen = list(machine(site(engine="cpu"), bundle, OnnxRuntimeEngine(bundle)))
    assert chosen[0].verdict is Verdict.PASSED
    assert verdicts(chosen)["Driver"] is Verdict.NOT_DONE


def test_memory_that_others_use_is_missed(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 8000000 kB\nMemAvailable:    2097152 kB\n")
    assert memory(2048, meminfo).verdict is Verdict.PASSED
    assert memory(2049, meminfo).verdict is Verdict.FAILED


def nothing(what: str, done: int, total: int) -> None:
    """Of what goes on."""


def test_the_cpu_engine_is_the_reference_itself(densitometry: ModelFile) -> None:
    def never() -> OnnxRuntimeEngine:
        raise AssertionError

    check = parity(OnnxRuntimeEngine(densitometry), never, 20, 0.5, nothing)
    assert (check.verdict, check.measured) == (
        Verdict.NOT_DONE,
        "the engine is the reference itself, in FP32",
    )


class OnAGpu(OnnxRuntimeEngine):
    """Under the name of another engine, so that it is compared with the reference."""

    @property
    def identity(self) -> EngineIdentity:
        return EngineIdentity("tensorrt", "tensorrt-rtx 1.7", "a GPU", "580.1")


@pytest.mark.slow
def test_phantoms_are_read_by_both_and_a_difference_fails(
    densitometry: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.build_engine.volumes.FEWEST", 12)
    told: list[tuple[str, int, int]] = []

    def tell(*what: Any) -> None:
        told.append(what)

    def compared(model: ModelFile) -> Check:
        return parity(OnAGpu(model), lambda: OnnxRuntimeEngine(densitometry), 3, 0.5, tell)

    same = compared(densitometry)
    assert same.verdict is Verdict.PASSED
    assert re.match(r"1\d volumes, 3 of them phantoms, \d+ near the operating point: ", same.measured)
    assert "|Δ probability| up to 0.0000, 0 flags changed, lowest correlation 1.0000" in same.measured
    assert told[:3] == [("phantoms", 1, 3), ("phantoms", 2, 3), ("phantoms", 3, 3)]
    assert compared(otherwise(tmp_path, "constant_0", 20.0)).verdict is Verdict.FAILED


@pytest.mark.slow
def test_a_model_that_no_phantom_brings_near_its_operating_point_is_not_passed(
    densitometry: ModelFile,
) -> None:
    spec = densitometry.spec.model_copy(update={"intended_use": "demonstration", "operating_point": 0.999999})
    never = replace(densitometry, spec=spec)
    check = parity(OnAGpu(never), lambda: OnnxRuntimeEngine(never), 1, 0.999999, nothing)
    assert check.verdict is Verdict.FAILED
    assert check.measured.startswith("0 volumes near the operating point could be made of 1 phantoms")


def test_agreement_sees_probabilities_flags_and_places(densitometry: ModelFile, tmp_path: Path) -> None:
    reference = OnnxRuntimeEngine(densitometry)
    plan = SlicePlan.for_grid(densitometry.spec.grid)
    slices = [read_slice(path, plan) for path in (SERIES / "covid-left").glob("*.dcm")]
    read = assess(slices, densitometry.spec.grid, Policy(densitometry.spec.accepted))
    assert read.volume is not None
    hu = read.volume.hu
    same = agreement(reference, reference, [hu], 0.5)
    assert same.within_limits
    assert (same.volumes, same.flags_changed) == (1, 0)
    probability = reference.infer(hu).probability
    other = OnnxRuntimeEngine(otherwise(tmp_path, "constant_11", 0.0005))
    moved = agreement(other, reference, [hu], probability)
    assert moved.flags_changed == 1
    assert not moved.within_limits
    place = OnnxRuntimeEngine(otherwise(tmp_path, "constant_0", 150.0))
    alone = agreement(place, reference, [hu], 0.5).lowest_correlation
    shallow = np.where(hu < -1000, hu, hu * np.float32(0.8))
    others = agreement(place, reference, [shallow], 0.5).lowest_correlation
    assert alone is not None
    assert others is not None
    assert alone < 0.99
    assert alone != others
    assert agreement(place, reference, [hu, shallow], 0.5).lowest_correlation == min(alone, others)
    assert agreement(place, reference, [shallow, hu], 0.5).volumes == 2


@pytest.mark.parametrize(
    ("found", "within"),
    [
        (Agreement(20, 0.01, 0, 0.99), True),
        (Agreement(20, 0.01, 0, None), True),
        (Agreement(20, 0.0101, 0, 0.99), False),
        (Agreement(20, 0.0, 1, 1.0), False),
        (Agreement(20, 0.0, 0, 0.98), False),
        (Agreement(20, float("nan"), 0, 1.0), False),
        (Agreement(20, 0.0, 0, float("nan")), False),
        (Agreement(0, float("nan"), 0, None), False),
    ],
)
def test_the_limits_of_parity(found: Agreement, within: bool) -> None:
    assert found.within_limits is within


def test_an_engine_that_fails_on_a_volume_is_said(tmp_path: Path) -> None:
    engine = OnnxRuntimeEngine(load_model(overconfident(tmp_path / "faulty.onnx")))
    with pytest.raises(EngineError):
        run(engine, 0.1, lambda share: None)


def test_an_engine_is_run_for_its_time(densitometry: ModelFile) -> None:
    shares: list[float] = []
    found = run(OnnxRuntimeEngine(densitometry), 1.0, shares.append)
    assert len(found.taken_ms) >= 10
    assert found.seconds >= 1.0
    assert len(found.memory_mib) >= 2
    assert shares == sorted(shares)
    assert found.memory_of == PROCESS


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (Run((900.0,) * 95 + (1100.0,) * 5, 60.0, (300.0,) * 100, PROCESS), set()),
        (Run((900.0,) * 90 + (1100.0,) * 10, 60.0, (300.0,) * 100, PROCESS), {"Engine alone"}),
        (Run((900.0,) * 59, 60.0, (300.0,) * 100, PROCESS), {"Throughput"}),
        (Run((10.0,) * 100, 60.0, (300.0,) * 50 + (317.0,) * 50, PROCESS), {"Memory stays flat"}),
        (Run((10.0,) * 100, 60.0, (300.0,) * 98 + (999.0,) * 2, PROCESS), set()),
    ],
)
def test_the_limits_of_speed_and_memory(found: Run, wrong: set[str]) -> None:
    checks = verdicts(speed(found))
    assert {name for name, verdict in checks.items() if verdict is Verdict.FAILED} == wrong
    assert len(checks) == 3


def labelled(scores: list[float], positive: list[int], not_scored: int = 0) -> Joined:
    scored = Cases(np.array(scores), np.array(positive, bool), (), {})
    missing = tuple(Unscored(f"{n}", 1, "not analysed: missing slice", None) for n in range(not_scored))
    return Joined(scored, missing, (), ())


@pytest.mark.parametrize(
    ("joined", "wrong"),
    [
        (labelled([0.9, 0.8, 0.4, 0.2, 0.6], [1, 1, 1, 0, 0]), set()),
        (labelled([0.9, 0.4, 0.4, 0.2, 0.6], [1, 1, 1, 0, 0]), {SENSITIVITY}),
        (labelled([0.9, 0.8, 0.4, 0.5, 0.6], [1, 1, 1, 0, 0]), {SPECIFICITY}),
        (labelled([0.9, 0.8, 0.4, 0.2, 0.6], [1, 1, 1, 0, 0], not_scored=1), {READ}),
    ],
)
def test_own_cases_below_the_limit_fail(joined: Joined, wrong: set[str]) -> None:
    asked = LabelledCases(Path(), Path(), 2 / 3, 0.5)
    checks = list(judge(joined, asked, 0.5))
    assert {check.name for check in checks if check.verdict is Verdict.FAILED} == wrong
    assert "(Wilson)" in checks[1].measured
    assert "(Clopper-Pearson)" in checks[2].measured


@pytest.mark.slow
def test_own_cases_are_read_from_their_files_and_judged_by_the_sites_operating_point(
    densitometry: ModelFile, small_chest: SmallChest, tmp_path: Path
) -> None:
    for kind in ("covid", "clear"):
        (tmp_path / "cases" / kind).mkdir(parents=True)
        for file in small_chest(kind):
            shutil.copy(file, tmp_path / "cases" / kind)
    labels = tmp_path / "labels.csv"
    engine, rules = OnnxRuntimeEngine(densitometry), rules_for(densitometry.spec)

    def checked(table: str, rules: Rules = rules) -> dict[str, Verdict]:
        labels.write_text(table)
        asked = LabelledCases(tmp_path / "cases", labels, 1.0, 1.0)
        return verdicts(cases(asked, engine, rules, nothing))

    right = "path,label\ncovid,1\nclear,0\n"
    assert set(checked(right).values()) == {Verdict.PASSED}
    assert checked("path,label\ncovid,0\nclear,1\n")[SENSITIVITY] is Verdict.FAILED
    assert checked(right + "gone,1\n")[READ] is Verdict.FAILED
    assert checked(right, replace(rules, operating_point=0.999))[SENSITIVITY] is Verdict.FAILED
    assert checked("path,label\ncovid,1\ngone,0\n") == {READ: Verdict.FAILED}


def test_a_folder_of_which_nothing_is_scored_fails_and_says_why(
    densitometry: ModelFile, tmp_path: Path
) -> None:
    (tmp_path / "cases").mkdir()
    labels = tmp_path / "labels.csv"
    labels.write_text("path,label\na,1\nb,0\n")
    engine, rules = OnnxRuntimeEngine(densitometry), rules_for(densitometry.spec)
    (check,) = cases(LabelledCases(tmp_path / "cases", labels, 1.0, 1.0), engine, rules, nothing)
    assert (check.name, check.verdict) == (READ, Verdict.FAILED)
    assert check.measured.startswith("None of the 2 labelled series")
    assert "that of line 2: no such series in the folder" in check.measured
    labels.write_text("path,label\nMEIER HANS,1\nb,0\n")
    (check,) = cases(LabelledCases(tmp_path / "cases", labels, 1.0, 1.0), engine, rules, nothing)
    assert "MEIER" not in check.measured, "a report is kept, and names of folders are often those of patients"


def test_without_own_cases_it_says_what_is_missing(densitometry: ModelFile) -> None:
    engine, rules = OnnxRuntimeEngine(densitometry), rules_for(densitometry.spec)
    found = list(cases(None, engine, rules, nothing))
    assert {check.verdict for check in found} == {Verdict.NOT_DONE}
    assert "--min-sensitivity" in found[0].limit


def test_a_port_that_another_program_has_fails(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        check = port("Port of the page", address, None)
        assert check.verdict is Verdict.FAILED
        assert "in use by another program" in check.measured
        # A daemon that runs and does not listen there has no part in it.
        with subprocess.Popen(["sleep", "60"]) as daemon:
            assert port("Port of the page", address, daemon.pid).verdict is Verdict.FAILED
            daemon.kill()
        assert port("Port of the page", address, os.getpid()).verdict is Verdict.PASSED
    assert port("Port of the page", address, None).verdict is Verdict.PASSED


def test_the_daemon_is_who_listens_on_the_control_socket(tmp_path: Path) -> None:
    assert daemon_pid(tmp_path / "control.sock") is None
    with unix(tmp_path / "control.sock"):
        assert daemon_pid(tmp_path / "control.sock") == os.getpid()
    assert daemon_pid(tmp_path / "control.sock") is None


def test_a_sandbox_with_a_hole_fails(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: apt-get install systemd")
    unit = ROOT / "systemd/scanlight.service"
    assert sandbox(unit).verdict is Verdict.PASSED
    open_ = tmp_path / unit.name
    open_.write_text(re.sub(r"^(Protect|Restrict|SystemCall|Private).*$", "", unit.read_text(), flags=re.M))
    check = sandbox(open_)
    assert check.verdict is Verdict.FAILED
    assert float(check.measured.split()[1]) > 2
    (tmp_path / "empty.service").write_text("nonsense")
    assert sandbox(tmp_path / "empty.service").verdict is Verdict.FAILED


def test_an_analysis_that_never_ends_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "systemd-analyze"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("tools.doctor.service.ANALYSIS_S", 0.5)
    check = sandbox(ROOT / "systemd/scanlight.service")
    assert (check.verdict, check.measured) == (Verdict.FAILED, "systemd-analyze says nothing for 0.5 s")


def test_without_systemd_there_is_no_sandbox_to_look_at() -> None:
    if BOOTED.exists():
        pytest.skip("systemd runs here")
    assert (sandbox().verdict, sandbox().measured) == (Verdict.NOT_DONE, "no systemd runs here")

"""An acceptance holds for exactly what was tested and signed."""

from __future__ import annotations

import platform
from dataclasses import fields, replace
from pathlib import Path

import pytest

from appliance.acceptance import (
    DAMAGED,
    NEVER,
    STARTING,
    WHY_NOT,
    Acceptance,
    AcceptanceFile,
    Subject,
    processor,
    why_not,
)
from engines.protocol import EngineIdentity

ENGINE = EngineIdentity("tensorrt", "tensorrt-rtx 1.7.1", "NVIDIA RTX A4000", "580.65.06")
SUBJECT = Subject.of("m" * 64, "b" * 64, ENGINE, "0.1.0")
SIGNED = Acceptance(
    subject=SUBJECT,
    report_sha256="0" * 64,
    signed_by=("A. Physicist", "B. IT"),
    signed_at="2026-11-29T08:00:00.000Z",
    not_done=(),
)


def test_what_was_signed_is_accepted_and_nothing_else() -> None:
    assert why_not(SIGNED, SUBJECT) == ()
    assert why_not(None, SUBJECT) == (NEVER,)
    assert why_not(SIGNED, None) == (STARTING,)


@pytest.mark.parametrize("part", [one.name for one in fields(Subject)])
def test_any_other_part_ends_the_acceptance_and_is_named(part: str) -> None:
    assert why_not(SIGNED, replace(SUBJECT, **{part: "another"})) == (f"{part}_changed",)
    assert f"{part}_changed" in WHY_NOT


def test_another_runner_and_another_flavour_are_another_engine() -> None:
    for changed in (replace(ENGINE, runner="onnxruntime"), replace(ENGINE, flavour="tensorrt-rtx 1.8.0")):
        assert why_not(SIGNED, Subject.of("m" * 64, "b" * 64, changed, "0.1.0")) == ("engine_changed",)


def test_why_the_gpu_is_not_used_is_no_part_of_what_is_accepted() -> None:
    told = replace(ENGINE, why="another process holds the memory")
    assert why_not(SIGNED, Subject.of("m" * 64, "b" * 64, told, "0.1.0")) == ()


def test_on_the_cpu_another_processor_is_another_device(tmp_path: Path) -> None:
    cpu = EngineIdentity("onnxruntime", "onnxruntime 1.20", "cpu")
    assert Subject.of("m" * 64, "", cpu, "0.1.0").device == f"cpu: {processor()}"
    cpuinfo = "processor\t: {0}\nmodel name\t: Some: CPU @ 3 GHz\nmodel name\t: another\n"
    (tmp_path / "x86").write_text(cpuinfo)
    (tmp_path / "arm").write_text("processor\t: 0\nCPU part\t: 0xd0c\n")
    assert processor(tmp_path / "x86") == "Some: CPU @ 3 GHz"
    assert processor(tmp_path / "arm") == platform.machine()
    assert SUBJECT.device == ENGINE.device


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "acceptance.json"
    file = AcceptanceFile(path)

    def now() -> tuple[str, ...]:
        file.look()
        return file.why_not(SUBJECT)

    assert now() == (NEVER,)
    path.write_bytes(SIGNED.render())
    assert now() == ()
    assert file.accepted == SIGNED
    other = SIGNED.model_copy(update={"subject": replace(SUBJECT, driver="590.1")})
    path.write_bytes(other.render())
    assert now() == ("driver_changed",)
    for damaged in (b"", b"[]", SIGNED.render().replace(b"A. Physicist", b'"'), SIGNED.render()[:-20]):
        path.write_bytes(damaged)
        assert now() == (DAMAGED,)
        assert file.accepted is None
    path.write_bytes(SIGNED.render())
    assert now() == ()
    path.unlink()
    assert now() == (NEVER,)

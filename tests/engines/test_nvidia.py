"""NVIDIA's libraries: what is said when they are not there, and what the driver's own text means."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from engines import nvidia
from engines.bundle import load_model
from engines.nvidia import NvidiaError, TensorRTLog, load_cuda, load_tensorrt
from engines.protocol import EngineError
from engines.runner import open_engine

NO_DRIVER = not Path("/dev/nvidiactl").exists()

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="needs TensorRT-RTX: make rtx"
)


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed")
def test_tensorrt_that_is_not_installed() -> None:
    with pytest.raises(NvidiaError, match=r"^tensorrt is not installed: pip install tensorrt "):
        load_tensorrt("enterprise")


def test_tensorrt_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(NvidiaError, match=r"cannot be loaded \(libnvinfer\.so\.10.*\): install it again"):
        load_tensorrt("enterprise")


@pytest.mark.skipif(importlib.util.find_spec("pycuda") is None, reason="needs PyCUDA: make pycuda")
@pytest.mark.skipif(not NO_DRIVER, reason="NVIDIA's driver is here")
def test_pycuda_without_a_driver() -> None:
    with pytest.raises(
        NvidiaError, match=r"^PyCUDA cannot be loaded \(libcuda\.so\.1: .*\): install NVIDIA's"
    ):
        load_cuda()


@pytest.mark.parametrize(
    "text",
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 07:19:43 UTC 2025\n",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder)\n",
    ],
)
def test_the_driver_s_version(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "version").write_text(text)
    monkeypatch.setattr(nvidia, "_DRIVER", tmp_path / "version")
    assert nvidia._driver_version(_speaking(13000)) == "580.65.06"


def test_a_driver_that_is_not_named_is_the_cuda_that_it_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvidia, "_DRIVER", tmp_path / "not there")
    assert nvidia._driver_version(_speaking(12090)) == "CUDA 12.9"


def _speaking(version: int) -> SimpleNamespace:
    """PyCUDA's driver module, of which one function is asked."""
    return SimpleNamespace(get_driver_version=lambda: version)


@needs_rtx
@pytest.mark.skipif(not NO_DRIVER, reason="NVIDIA's driver is here")
def test_what_tensorrt_logs_is_kept_and_told(caplog: pytest.LogCaptureFixture) -> None:
    trt = load_tensorrt("rtx")
    log = TensorRTLog(trt)
    assert log.last_error() == ""
    with caplog.at_level(logging.ERROR, "tensorrt"):
        assert trt.Runtime(log.logger).deserialize_cuda_engine(b"vtrt") is None
    assert log.last_error()
    assert log.last_error() in caplog.text


@needs_rtx
def test_what_went_well_after_all_explains_nothing() -> None:
    log = TensorRTLog(load_tensorrt("rtx"))
    log.logger.log(load_tensorrt("rtx").ILogger.Severity.ERROR, "tried another way")
    assert log.last_error() == "tried another way"
    log.forget()
    assert log.last_error() == ""


def test_a_command_that_logs_nothing_prints_nothing_of_tensorrt() -> None:
    """What TensorRT says is told in the command's own sentence."""
    code = "import engines.nvidia, logging; logging.getLogger('tensorrt').error('a line of it')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_model_without_a_plan_has_no_gpu_engine(make_model: Callable[..., Path]) -> None:
    with pytest.raises(
        EngineError, match=r"^model tiny\.onnx has no TensorRT plan: .* build-engine tiny\.onnx"
    ):
        open_engine(load_model(make_model()), "tensorrt")

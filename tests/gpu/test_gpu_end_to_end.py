"""The daemon's whole end-to-end test with `engine: auto` and a bundle, on the doubles of driver and TensorRT.

The tests are those of `test_end_to_end`; only what reads is another.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from bundles import write_bundle
from harness import Appliance
from test_end_to_end import *  # noqa: F403

from engines.bundle import embedded_model

pytestmark = pytest.mark.slow


@pytest.fixture
def runner() -> str:
    return "tensorrt"


@pytest.fixture
def appliance(tmp_path: Path, double_of_driver: dict[str, str]) -> Appliance:
    bundle = write_bundle(tmp_path / "bundle", embedded_model("densitometry").read_bytes())
    appliance = Appliance(tmp_path, model=str(bundle))
    appliance.environment = double_of_driver
    return appliance


def test_a_lost_device_ends_the_process_and_the_series_is_read_by_the_next(
    appliance: Appliance, small_chest
) -> None:
    """The first volumes are that of the start and the known answers."""
    with appliance.launched({"SHIM_LOSE": "719@5"}):
        assert appliance.process is not None
        appliance.copy(small_chest("covid"), "study")
        assert appliance.process.wait(60) == 70
    told = appliance.log.read_text()
    assert told.count('"event": "device_lost"') == 1
    assert "Traceback" not in told
    with appliance:
        (record,) = appliance.wait_for_findings(1)
        assert record["outcome"] == "flagged"
        assert record["engine"]["runner"] == "tensorrt"
        assert appliance.stop() == 0

"""A decoder that crashes, hangs or eats memory costs one series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from poison import POISONS, PoisonPool

from appliance.imaging.isolation import SlicePool
from appliance.offline import TreeReader
from appliance.reading import rules_for
from appliance.reasons import Outcome, Reason
from engines.bundle import embedded_model
from engines.runner import open_engine

REASONS = {
    "crash": Reason.WORKER_CRASHED,
    "hang": Reason.WORKER_TIMEOUT,
    "gorge": Reason.WORKER_MEMORY,
}


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_file_costs_its_series_alone(
    poison: str, small_chest: Callable[[str], list[Path]], tmp_path: Path
) -> None:
    for kind in ("covid", "clear"):
        (tmp_path / kind).mkdir()
        for number, file in enumerate(small_chest(kind)):
            name = f"{poison}-{file.name}" if (kind, number) == ("clear", 20) else file.name
            (tmp_path / kind / name).symlink_to(file)
    engine = open_engine(embedded_model("densitometry"))
    with PoisonPool() as pool:
        reader = TreeReader(engine, rules_for(engine.spec), pool, window=2)
        records = {record.outcome: record for record in reader.records([tmp_path])}
    assert records.keys() == {Outcome.FLAGGED, Outcome.FAILED}
    assert records[Outcome.FAILED].reason is REASONS[poison]
    assert records[Outcome.FAILED].slices == len(small_chest("clear"))
    assert f"{poison}-" in (records[Outcome.FAILED].detail or "")


def test_a_file_that_changes_between_header_and_pixels_fails_its_series(
    small_chest: Callable[[str], list[Path]], tmp_path: Path
) -> None:
    for file in small_chest("clear"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    victim = tmp_path / small_chest("clear")[20].name

    def touch(what: str, done: int, total: int) -> None:
        if what == "Finding series" and done == total:
            victim.write_bytes(victim.read_bytes() + b"\0\0")

    engine = open_engine(embedded_model("densitometry"))
    with SlicePool(1) as pool:
        reader = TreeReader(engine, rules_for(engine.spec), pool, window=2, progress=touch)
        (record,) = reader.records([tmp_path])
    assert record.reason is Reason.CHANGED_WHILE_READING
    assert victim.name in (record.detail or "")

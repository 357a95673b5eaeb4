from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from sample_facts import ready

from appliance.facts import InProgress
from appliance.journal import Event, Journal, JournalReader
from appliance.light import State
from appliance.metrics import PROBABILITY, SECONDS, registry
from appliance.reasons import RULES

DESIGN = {
    "build_info",
    "completed_total",
    "deliveries_total",
    "delivery_oldest_seconds",
    "disk_free_bytes",
    "engine_info",
    "export_folder_up",
    "files_total",
    "known_answer_ok",
    "known_answer_timestamp_seconds",
    "last_slice_to_flag_seconds",
    "light_state",
    "oldest_pending_seconds",
    "probability",
    "queue_depth",
    "readings_superseded_total",
    "rescan_timestamp_seconds",
    "series_conservation_error",
    "series_in_flight",
    "series_total",
    "stage_duration_seconds",
    "unacknowledged",
    "unseen",
    "gpu_memory_bytes",
    "gpu_temperature_celsius",
    "gpu_utilization_ratio",
    "worker_restarts_total",
}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.db")


@pytest.fixture
def metrics(journal: Journal) -> CollectorRegistry:
    facts = ready(delivery_oldest_s={"results_folder": 12.5})
    return registry(lambda: facts, JournalReader(journal.path).totals)


def value(metrics: CollectorRegistry, name: str, **labels: str) -> float | None:
    return metrics.get_sample_value(f"scanlight_{name}", labels)


def test_every_name_of_the_design_is_there(metrics: CollectorRegistry) -> None:
    text = generate_latest(metrics).decode()
    assert {f"scanlight_{name}" for name in DESIGN} <= {
        line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")
    }
    ours = [name for name in text.split() if name.startswith("scanlight_")]
    assert ours
    assert not [name for name in ours if "_created" in name]


def test_exposition_is_valid_in_both_formats(metrics: CollectorRegistry) -> None:
    names = {family.name for family in text_string_to_metric_families(generate_latest(metrics).decode())}
    assert {"scanlight_series", "scanlight_engine_info", "process_resident_memory_bytes"} <= names
    assert generate_openmetrics(metrics).endswith(b"# EOF\n")


def test_counters_add_up_events_scrape_by_scrape(journal: Journal, metrics: CollectorRegistry) -> None:
    missing = {"outcome": "not_analysed", "reason": "missing_slice"}
    assert value(metrics, "series_total", **missing) == 0
    journal.add_files(
        [], [Event("series", "not_analysed", "missing_slice"), Event("files", "slice", value=120)]
    )
    assert value(metrics, "series_total", **missing) == 1
    assert value(metrics, "files_total", kind="slice") == 120
    journal.add_files([], [Event("series", "not_analysed", "missing_slice"), Event("series", "flagged")])
    assert value(metrics, "series_total", **missing) == 2
    assert value(metrics, "series_total", outcome="flagged", reason="") == 1
    assert value(metrics, "files_total", kind="slice") == 120


def test_what_has_not_happened_yet_is_zero(metrics: CollectorRegistry) -> None:
    for reason, rule in RULES.items():
        assert value(metrics, "series_total", outcome=str(rule.outcome), reason=str(reason)) == 0
    for by in ("sentinel", "count", "quiet"):
        assert value(metrics, "completed_total", by=by) == 0
    assert value(metrics, "deliveries_total", destination="results_folder", result="failed") == 0
    assert value(metrics, "worker_restarts_total", reason="timeout") == 0
    assert value(metrics, "readings_superseded_total") == 0
    assert value(metrics, "stage_duration_seconds_count", stage="infer") == 0


@pytest.mark.parametrize(
    ("probability", "bucket"), [(0.0, "0.05"), (0.5, "0.5"), (0.51, "0.55"), (1.0, "1.0")]
)
def test_a_probability_falls_into_its_bucket(
    journal: Journal, metrics: CollectorRegistry, probability: float, bucket: str
) -> None:
    journal.add_files([], [Event("probability", value=probability)])
    below = str(round(float(bucket) - 0.05, 2))
    assert value(metrics, "probability_bucket", le=bucket) == 1
    assert value(metrics, "probability_bucket", le=below) in (0, None)
    assert value(metrics, "probability_sum") == probability


def test_durations_are_seconds(journal: Journal, metrics: CollectorRegistry) -> None:
    journal.add_files(
        [],
        [
            Event("stage_duration", "infer", value=0.3),
            Event("stage_duration", "infer", value=100.0),
            Event("last_slice_to_flag", value=4.0),
        ],
    )
    assert value(metrics, "stage_duration_seconds_bucket", stage="infer", le="0.25") == 0
    assert value(metrics, "stage_duration_seconds_bucket", stage="infer", le="0.5") == 1
    assert value(metrics, "stage_duration_seconds_bucket", stage="infer", le="60.0") == 1
    assert value(metrics, "stage_duration_seconds_count", stage="infer") == 2
    assert value(metrics, "stage_duration_seconds_sum", stage="infer") == pytest.approx(100.3)
    assert value(metrics, "last_slice_to_flag_seconds_bucket", le="5.0") == 1


def test_labels_are_bounded(journal: Journal) -> None:
    """What nobody would expect in the journal is counted, and adds no more than one `other` of each."""
    facts = ready(delivery_oldest_s={"results_folder": 1.0, "of a newer version": 7.0, "another": 5.0})
    metrics = registry(lambda: facts, JournalReader(journal.path).totals)
    series = []
    for strange in (range(1), range(1, 50)):
        journal.add_files(
            [],
            [
                *(Event("files", f"kind {n}") for n in strange),
                *(Event("series", f"outcome {n}", f"reason {n}") for n in strange),
                *(Event("completed", f"by {n}") for n in strange),
                *(Event("deliveries", f"destination {n}", f"result {n}") for n in strange),
                *(Event("worker_restarts", f"reason {n}") for n in strange),
                *(Event("watch_hints_lost", f"reason {n}") for n in strange),
                *(Event("readings_superseded", f"label {n}", f"label {n}") for n in strange),
                *(Event("stage_duration", f"stage {n}", value=n) for n in strange),
                *(Event("last_slice_to_flag", f"label {n}", value=n) for n in strange),
                *(Event("probability", f"label {n}", value=n) for n in strange),
                Event("of a newer version", "label"),
            ],
        )
        series.append(len([1 for family in metrics.collect() for _ in family.samples]))
    assert series[0] == series[1]
    text = generate_latest(metrics).decode()
    assert value(metrics, "files_total", kind="other") == 50
    assert value(metrics, "series_total", outcome="other", reason="other") == 50
    assert value(metrics, "stage_duration_seconds_count", stage="other") == 50
    assert value(metrics, "readings_superseded_total") == 50
    assert value(metrics, "delivery_oldest_seconds", destination="other") == 7
    assert "kind 7" not in text
    assert "newer" not in text


def test_counters_go_on_in_a_new_process(journal: Journal, metrics: CollectorRegistry) -> None:
    journal.add_files([], [Event("completed", "quiet")] * 3 + [Event("probability", value=0.7)])
    assert value(metrics, "completed_total", by="quiet") == 3
    journal.close()
    script = (
        "import sys; from pathlib import Path; from appliance.journal import JournalReader;"
        "from appliance.metrics import sums;"
        "print([s.value for m in sums(JournalReader(Path(sys.argv[1])).totals()) for s in m.samples"
        " if s.labels.get('by') == 'quiet' or s.name.endswith('probability_count')])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(journal.path)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[3.0, 1.0]"


def test_gauges_follow_the_facts(journal: Journal) -> None:
    facts = [ready()]
    metrics = registry(lambda: facts[-1], JournalReader(journal.path).totals)
    assert value(metrics, "light_state", state="ready") == 1
    assert value(metrics, "known_answer_ok") == 1
    assert value(metrics, "lamp_ok") is None
    series = InProgress("1.2.3", 7, "reading", "2026-03-01T08:00:00.000Z")
    facts.append(
        ready(
            suspect=2,
            not_analysed=3,
            failed=4,
            oldest_alarm_s=70.0,
            in_progress=(series,),
            queue_depth={"parse": 4},
            oldest_pending_s=9.5,
            delivery_oldest_s={"results_folder": 3.0},
            disk_free_bytes={"state": 5, "export": 6},
            conservation_error=1,
            folder_up=False,
            lamp="ok",
        )
    )
    assert [value(metrics, "light_state", state=state) for state in State] == [1, 0, 0, 0, 0]
    assert value(metrics, "unacknowledged") == 2
    assert value(metrics, "unacknowledged_oldest_seconds") == 70
    assert value(metrics, "unseen", outcome="not_analysed") == 3
    assert value(metrics, "unseen", outcome="failed") == 4
    assert value(metrics, "series_in_flight") == 1
    assert value(metrics, "queue_depth", stage="parse") == 4
    assert value(metrics, "oldest_pending_seconds") == 9.5
    assert value(metrics, "delivery_oldest_seconds", destination="results_folder") == 3
    assert value(metrics, "disk_free_bytes", volume="export") == 6
    assert value(metrics, "series_conservation_error") == 1
    assert value(metrics, "export_folder_up") == 0
    assert value(metrics, "lamp_ok") == 1
    facts.append(ready(lamp="failing", known_answer_ok=False))
    assert value(metrics, "lamp_ok") == 0
    assert value(metrics, "known_answer_ok") == 0
    assert value(metrics, "rescan_timestamp_seconds") == 1772352000
    engine = {"engine": "onnxruntime", "model": "densitometry", "version": "1.0.0", "flavour": "CPU 1.24"}
    assert value(metrics, "engine_info", **engine) == 1


def test_what_is_not_known_yet_has_no_sample(journal: Journal) -> None:
    starting = ready(known_answer_ok=None, known_answer_at=None, rescan_at=None)
    starting = replace(starting, model=replace(starting.model, engine=None))
    metrics = registry(lambda: starting, JournalReader(journal.path).totals)
    for name in ("known_answer_ok", "known_answer_timestamp_seconds", "rescan_timestamp_seconds"):
        assert value(metrics, name) is None
    assert value(metrics, "engine_info", engine="", model="densitometry", version="1.0.0", flavour="") == 1


def test_the_journal_counts_in_the_buckets_of_the_metrics(
    journal: Journal, metrics: CollectorRegistry
) -> None:
    """One value above all bounds and one in each bucket, just at its bound."""
    for event, bounds in (
        ("stage_duration", SECONDS),
        ("last_slice_to_flag", SECONDS),
        ("probability", PROBABILITY),
    ):
        label = "infer" if event == "stage_duration" else ""
        journal.add_files([], [Event(event, label, value=bound) for bound in (*bounds, bounds[-1] + 1)])
        name = event if event == "probability" else f"{event}_seconds"
        labels = {"stage": label} if label else {}
        for below, bound in enumerate(bounds, 1):
            assert value(metrics, f"{name}_bucket", le=str(bound), **labels) == below
        assert value(metrics, f"{name}_bucket", le="+Inf", **labels) == len(bounds) + 1


def test_a_scrape_reads_no_event(journal: Journal, metrics: CollectorRegistry) -> None:
    journal.add_files([], [Event("series", "flagged"), Event("probability", value=0.9)])
    journal._db.execute("DELETE FROM event")
    assert value(metrics, "series_total", outcome="flagged", reason="") == 1
    assert value(metrics, "probability_count") == 1

"""SIGHUP: what it changes while the daemon runs, and what it leaves as it is."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from daemon.harness import Appliance

from appliance.config import Config, parse
from appliance.config_problems import HIDDEN, without_secrets
from appliance.journal import Journal
from appliance.reload import AT_THE_START, compare
from tools.phantom import Chest, Export, make_chest, write_series

SmallChest = Callable[[str], list[Path]]

PATHS = {"export_folder": "/srv/ct", "state_folder": "/var/lib/scanlight"}

OTHER: dict[str, Any] = {
    "export_folder": "/srv/other",
    "state_folder": "/var/lib/other",
    "listen": "127.0.0.1:8081",
    "metrics_listen": "127.0.0.1:8082",
    "tls": {"certificate": "/etc/page.pem", "key": "/etc/page.key"},
    "access_token_file": "/etc/token",
    "hosts": ["ct1.example"],
    "proxy": {"user_header": "X-Remote-User"},
    "results_folder": "/srv/results",
    "model": "/etc/model.onnx",
    "engine": "cpu",
    "engine_deadline_s": 30,
    "operating_point": {"value": 0.4, "reason": "our own cases"},
    "completeness.floor_s": 2,
    "completeness.ceiling_s": 40,
    "completeness.k": 5,
    "completeness.sentinel": {"glob": "*.done"},
    "rescan_s": 5,
    "polling": "on",
    "backlog_h": 12,
    "workers": 7,
    "worker_memory_mb": 512,
    "worker_timeout_s": 6,
    "memory_budget_mb": 512,
    "tries": 3,
    "retry_after_s": 30,
    "known_answer_interval_s": 600,
    "lung_min_ml": 400,
    "axial_tolerance_deg": 10,
    "reasons": {"gantry_tilt": "skipped"},
    "label": "none",
    "keep_images_days": 3,
    "lamp": {"command": ["/usr/local/bin/lamp"]},
    "allow_demonstration": "I understand",
    "log_level": "debug",
}
"""Each setting with another value than its default."""


def config(**changes: object) -> Config:
    values: dict[str, Any] = {**PATHS}
    for name, value in changes.items():
        section, _, inner = name.partition(".")
        if inner:
            values.setdefault(section, {})[inner] = value
        else:
            values[name] = value
    return parse(yaml.safe_dump(values), "site.yaml")


def test_each_setting_either_changes_or_is_refused_with_its_reason() -> None:
    names = {name for name in Config.model_fields if name != "completeness"}
    timing = type(config().completeness).model_fields
    assert OTHER.keys() == names | {f"completeness.{name}" for name in timing}
    old = config()
    for name, value in OTHER.items():
        new = config(**{name: value})
        assert new != old, name
        reload = compare(old, new)
        if name in AT_THE_START:
            assert (reload.applied, reload.refused) == ((), {name: AT_THE_START[name]})
            assert reload.config == old
        else:
            assert (reload.applied, reload.refused) == ((name,), {})
            assert reload.config == new


def test_what_can_change_does_so_beside_what_cannot_and_that_is_named_until_the_next_start() -> None:
    old = config()
    both = compare(old, config(workers=7, log_level="debug", **{"completeness.k": 5}))
    assert both.applied == ("log_level", "completeness.k")
    assert set(both.refused) == {"workers"}
    assert both.config == config(workers=old.workers, log_level="debug", **{"completeness.k": 5})
    again = compare(both.config, config(workers=7))
    assert (again.applied, set(again.refused)) == (("log_level", "completeness.k"), {"workers"})
    back = compare(again.config, old)
    assert (back.applied, back.refused, back.config) == ((), {}, old)


def hang_up(site: Appliance, **changes: object) -> dict[str, Any]:
    """Change the configuration and have it read again; what the daemon says of it."""
    values = yaml.safe_load(site.config.read_text())
    site.config.write_text(yaml.safe_dump({**values, **changes}))
    return read_again(site)


def read_again(site: Appliance) -> dict[str, Any]:
    before = site.status()["facts"]["reloaded"]
    assert site.process is not None
    site.process.send_signal(signal.SIGHUP)
    site.wait("it was read again", lambda: site.status()["facts"]["reloaded"] != before)
    reloaded: dict[str, Any] = site.status()["facts"]["reloaded"]
    return reloaded


def events(site: Appliance, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in site.log.read_text().splitlines()]
    return [line for line in lines if line["event"] == name]


@pytest.mark.slow
def test_a_daemon_takes_what_it_can_and_keeps_all_where_there_is_a_mistake(
    tmp_path: Path, small_chest: SmallChest
) -> None:
    told = tmp_path / "told"
    lamp = tmp_path / "lamp"
    lamp.write_text(f'#!/bin/sh\necho "$1" >>"{told}"\n')
    lamp.chmod(0o755)
    second = write_series(
        make_chest(Chest(kind="covid", seed=4, slice_mm=5.0, matrix=128)), tmp_path / "second", Export()
    )
    with Appliance(tmp_path, operating_point={"value": 0.001, "reason": "flags everything"}) as site:
        site.copy(small_chest("covid"), "before")
        (before,) = site.wait_for_findings(1)
        assert before["outcome"] == "flagged"

        strict = {"value": 0.999, "reason": "flags nothing"}
        done = hang_up(site, operating_point=strict, lamp={"command": [str(lamp)]}, workers=2)
        assert done["applied"] == ["operating_point", "lamp"]
        assert done["refused"] == {"workers": AT_THE_START["workers"]}
        assert [one["setting"] for one in events(site, "setting_waits_for_a_start")] == ["workers"]
        site.wait("the lamp is lit", lambda: told.exists() and told.read_text() == "suspect\n")
        site.copy(second, "after")
        after = site.wait_for_findings(2)[1]
        assert (after["outcome"], after["operating_point"]) == ("not_flagged", 0.999)
        assert "flags nothing" in after["notice"]

        good = site.config.read_text()
        site.config.write_text(good + "rescan_s: 2\ntries: 0\nlog_levle: debug\n")
        done = read_again(site)
        assert (done["mistakes"], done["applied"]) == (3, [])
        why = [one["why"].partition(", ")[2] for one in events(site, "configuration_refused")]
        assert [one.partition(": ")[2] for one in why] == [
            "rescan_s: is there twice, keep one.",
            "tries: expected at least 1, found 0.",
            "log_levle: there is no such setting; did you mean log_level?",
        ]
        assert site.status()["facts"]["model"]["operating_point"] == 0.999
        shown = site.cli("status").stdout
        assert "3 mistakes, all is as it was" in shown

        site.config.write_text(good)
        checked = len(events(site, "known_answers"))
        assert hang_up(site, known_answer_interval_s=1.0)["applied"] == ["known_answer_interval_s"]
        site.wait("they are run again", lambda: len(events(site, "known_answers")) > checked + 1)
        done = hang_up(site, log_level="error", lamp=None)
        assert done["applied"] == ["lamp", "log_level"]
        assert (
            "workers waits for the next start: they are started with the daemon" in site.cli("status").stdout
        )
        site.wait("the lamp is told", lambda: told.read_text().endswith("no_signal\n"))
        assert events(site, "configuration_reloaded")[-1]["applied"] != ["lamp", "log_level"]
        assert site.stop() == 0
        audit = [json.loads(line) for line in (site.state / "audit.log").read_text().splitlines()]
        changed = [one for one in audit if one["event"] == "configuration_changed"]
        assert changed[1]["changed"]["operating_point"][1] == strict
        assert [one["mistakes"] for one in audit if one["event"] == "configuration_refused"] == [3]


def test_of_a_command_only_what_smells_of_no_secret_is_shown() -> None:
    told = ["/usr/local/bin/a-lamp-with-a-long-name-2", "-v", "--room=3", "--colour", "dim"]
    assert without_secrets(told) == told
    for secret in ("--token=a", "http://192.0.2.7/api/83b7780291a6ceffbe0be049104df/lights"):
        assert without_secrets(["/bin/true", secret, "dim"]) == ["/bin/true", HIDDEN, "dim"]
    hidden = without_secrets(["/bin/true", "--api-key", "b", "dim"])
    assert hidden == ["/bin/true", "--api-key", HIDDEN, "dim"] == without_secrets(hidden)


@pytest.mark.slow
def test_a_secret_in_the_command_of_a_lamp_is_kept_and_told_nowhere(tmp_path: Path) -> None:
    bridge = ["/bin/true", "--token", "hunter2", "http://192.0.2.7/api/83b7780291a6ceffbe0be049104df/lights"]
    secrets = (b"hunter2", b"83b77802", b"swordfish")
    site = Appliance(tmp_path, lamp={"command": bridge})
    with site.launched():
        site.wait_until_ready()
        assert hang_up(site, lamp={"command": [*bridge, "--password=swordfish"]})["applied"] == ["lamp"]
        assert site.stop() == 0
    for file in (site.log, *filter(Path.is_file, site.state.rglob("*"))):
        assert not any(secret in file.read_bytes() for secret in secrets), file
    first, second = lamps(site)
    assert first[1]["command"] == ["/bin/true", "--token", HIDDEN, HIDDEN]
    assert second[1]["command"] == ["/bin/true", "--token", HIDDEN, HIDDEN, HIDDEN]
    # As a version left it that hid none.
    journal = Journal(site.state / "journal.db")
    kept = json.loads(journal.meta("configuration") or "")
    kept["lamp"]["command"] = [*bridge, "--password=swordfish"]
    journal.set_meta("configuration", json.dumps(kept, sort_keys=True))
    journal.close()
    with site.launched():
        site.wait_until_ready()
        assert site.stop() == 0
    assert lamps(site) == [first, second]


def lamps(site: Appliance) -> list[Any]:
    """What the audit log has of the lamp, before and after each change."""
    audit = [json.loads(line) for line in (site.state / "audit.log").read_text().splitlines()]
    return [one["changed"]["lamp"] for one in audit if one["event"] == "configuration_changed"]


def test_the_page_on_installing_names_what_waits_for_a_start() -> None:
    page = (Path(__file__).parent.parent / "docs/installing.md").read_text()
    told = page.partition("These settings wait for the next start")[2].partition(". A lamp")[0]
    assert set(re.findall(r"`([a-z_.]+)`", told)) == AT_THE_START.keys()

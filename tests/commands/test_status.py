"""scanlight status against the real application on a real control socket, and against a real daemon."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import scanlight
from daemon.harness import Appliance
from sample_facts import ready
from served import died

from appliance.commands.status import EXIT, exit_code, lines
from appliance.facts import Board, Facts, InProgress, Reloaded
from appliance.light import FAULTS, Light, State, light
from appliance.web.app import create_app
from appliance.web.server import WebServer, unix
from appliance.web.status import status

SmallChest = Callable[[str], list[Path]]

AT = "2026-03-01T08:00:00.000Z"
FACTS = {
    State.READY: ready(),
    State.READING: ready(in_progress=(InProgress("1.2.3", 120, "receiving", AT),)),
    State.NOT_ANALYSED: ready(not_analysed=1, failed=2),
    State.SUSPECT: ready(suspect=2, not_analysed=1),
    State.FAULT: ready(suspect=1, folder_up=False, faults=("state_disk",)),
}


def shown(facts: Facts) -> list[str]:
    found = light(facts)
    return list(lines(json.loads(json.dumps(status(facts, found, AT)))))


@contextmanager
def serving(folder: Path, facts: Facts) -> Iterator[None]:
    server = WebServer(
        create_app(Board(facts), folder / "journal.db", died, heartbeat_limit_s=1e9),
        unix(folder / "control.sock"),
    )
    server.start()
    try:
        yield
    finally:
        server.ask_to_stop()
        server.join(5)


def test_every_state_has_an_exit_code_of_its_own() -> None:
    assert EXIT.keys() == set(State) == FACTS.keys()
    assert sorted(EXIT.values()) == [0, 10, 11, 12, 13]
    for state, facts in FACTS.items():
        assert light(facts).state is state
        assert exit_code({"state": state.value}) == EXIT[state]
    assert exit_code({"state": "a state of a newer version"}) == 13


@pytest.mark.parametrize("state", FACTS)
def test_the_state_is_told_in_words_and_as_the_exit_code(state: State, tmp_path: Path) -> None:
    with serving(tmp_path, FACTS[state]):
        words = scanlight("status", "--state", tmp_path)
    assert (words.returncode, words.stderr) == (EXIT[state], "")
    assert words.stdout.startswith(f"{state.replace('_', ' ').upper()} since 2026-03-01 ")
    assert words.stdout.splitlines()[1:] == shown(FACTS[state])[1:]


def test_why_counts_progress_and_model_are_told() -> None:
    assert shown(FACTS[State.FAULT])[1:4] == [
        f"  {FAULTS['export_folder_down']}",
        f"  {FAULTS['state_disk']}",
        "1 suspect, 0 not analysed, 0 failed, 0 in progress",
    ]
    reading = status(FACTS[State.READING], light(FACTS[State.READING]), AT)
    reading["in_progress"][0]["label"] = "…4711"
    assert "  receiving: 120 slices (…4711)" in lines(reading)
    reading["in_progress"][0].update(label="", seen=1)
    assert "  receiving: 1 slice" in lines(reading)
    assert "Model densitometry 1.0.0 for clinical use, flags from 0.5, onnxruntime on a processor" in shown(
        FACTS[State.SUSPECT]
    )
    assert shown(FACTS[State.READY])[-1] == "A study without a flag stays in the standard of care."
    assert not any("standard of care" in line for line in shown(FACTS[State.SUSPECT]))


def test_bands_and_a_lamp_that_fails_are_told() -> None:
    model = ready().model
    demo = ready(
        not_accepted=("never_accepted",),
        model=type(model)(**{**_fields(model), "intended_use": "demonstration"}),
    )
    assert shown(demo)[1:4] == [
        "DEMO · NOT ACCEPTED",
        "  no acceptance test of this installation has been signed",
        "  scanlight doctor tests the installation, scanlight accept signs the report",
    ]
    assert not any("accept" in line for line in shown(ready()))
    failing = "The lamp does not work: its command fails, see the log."
    assert failing in shown(ready(lamp="failing"))
    assert failing not in shown(ready(lamp="ok"))


def _fields(model: object) -> dict[str, object]:
    return {name: getattr(model, name) for name in type(model).__dataclass_fields__}  # type: ignore[attr-defined]


def test_the_last_reload_is_told() -> None:
    done = Reloaded(AT, 0, ("log_level", "lamp"), {"workers": "they are started with the daemon"})
    told = shown(ready(reloaded=done))
    assert told[-3].endswith(": log_level, lamp changed")
    assert told[-2] == "  workers waits for the next start: they are started with the daemon"
    refused = shown(ready(reloaded=Reloaded(AT, 1, (), {})))[-2]
    assert refused.endswith(": 1 mistake, all is as it was; scanlight config check tells more.")


def test_as_json_it_is_the_status_of_the_api(tmp_path: Path) -> None:
    facts = FACTS[State.SUSPECT]
    with serving(tmp_path, facts):
        done = scanlight("status", "--json", "--state", tmp_path)
    found: Light = light(facts)
    assert done.returncode == 11
    assert json.loads(done.stdout) == json.loads(json.dumps(status(facts, found, facts.published_at)))


def test_without_a_daemon_there_is_no_signal(tmp_path: Path) -> None:
    with serving(tmp_path, FACTS[State.READY]):
        pass
    assert (tmp_path / "control.sock").exists()
    for folder in (tmp_path, tmp_path / "missing"):
        done = scanlight("status", "--json", "--state", folder)
        assert (done.returncode, done.stdout) == (14, "")
        assert done.stderr == f"NO SIGNAL: no daemon runs with {folder}.\n"


def test_what_is_wrong_with_the_configuration_hides_no_daemon(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text(f"state_folder: {tmp_path}\nlisten: [\n")
    with serving(tmp_path, FACTS[State.SUSPECT]):
        done = scanlight("status", "--config", file)
        assert done.returncode == 11
        assert done.stdout.startswith("SUSPECT since ")
        assert done.stderr.startswith(f"{file}, line 3: not valid YAML: ")
        named = scanlight("status", "--config", file, "--state", tmp_path)
        assert (named.returncode, named.stderr) == (11, "")
        file.write_text("listen: [\n")
        unknown = scanlight("status", "--config", file)
        assert (unknown.returncode, unknown.stdout) == (2, "")
        assert unknown.stderr.startswith(f"{file}, line 2: not valid YAML: ")


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b"nonsense\r\n\r\n"]
)
def test_a_daemon_that_hangs_or_answers_nonsense_is_a_fault_within_seconds(
    answer: bytes, tmp_path: Path
) -> None:
    listening = unix(tmp_path / "control.sock")
    pid = os.fork()
    if pid == 0:
        connection, _ = listening.accept()
        connection.sendall(answer)
        signal.pause()
    began = time.monotonic()
    try:
        done = scanlight("status", "--state", tmp_path)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        listening.close()
    assert done.returncode == 13
    assert done.stderr.startswith("FAULT: the daemon does not answer")
    assert time.monotonic() - began < 60


def test_a_daemon_whose_queue_of_callers_is_full_hangs(tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "control.sock"))
    listening.listen(0)
    callers = []
    while True:
        caller = socket.socket(socket.AF_UNIX)
        caller.setblocking(False)
        callers.append(caller)
        try:
            caller.connect(str(tmp_path / "control.sock"))
        except BlockingIOError:
            break
    assert scanlight("status", "--state", tmp_path).returncode == 13
    for one in (*callers, listening):
        one.close()


@pytest.mark.slow
def test_a_real_daemon_from_ready_over_suspect_and_a_hang_to_its_end(
    tmp_path: Path, small_chest: SmallChest
) -> None:
    with Appliance(tmp_path, lamp={"command": ["/bin/false"]}) as site:
        site.wait("it is ready", lambda: site.cli("status").returncode == 0, 120)
        site.copy(small_chest("covid"), "a")
        site.wait_for_findings(1)
        done = site.cli("status")
        assert done.returncode == 11
        assert "1 suspect, 0 not analysed, 0 failed" in done.stdout
        assert "NOT ACCEPTED" in done.stdout
        assert "The lamp does not work" in done.stdout
        assert site.process is not None
        site.process.send_signal(signal.SIGSTOP)
        assert site.cli("status").returncode == 13
        site.process.send_signal(signal.SIGCONT)
        site.wait("it answers again", lambda: site.cli("status").returncode == 11)
        assert site.stop() == 0
        assert site.cli("status").returncode == 14

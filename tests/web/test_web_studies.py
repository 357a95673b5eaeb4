"""Studies in the API, and what people do about them: a real server, a real journal that is really changed."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sample_journal import PATIENT_FILE, LiveBoard
from served import Served, died

from appliance.control import Command, MarkFiles, MarkStudy, Retry
from appliance.facts import InProgress
from appliance.findings.record import SeriesRecord
from appliance.journal import Event, Journal
from appliance.reasons import Outcome, Reason
from appliance.shown import Shown
from appliance.web import actions, studies
from appliance.web.access import Access
from appliance.web.app import create_app

STATION = "SCANNER-OF-ROOM-7"


class Site:
    """A journal that fills up, and the main loop's part in what people ask for."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal(folder / "journal.db")
        self.asked: list[Command] = []
        self._minute = 0

    def end(
        self, uid: str, outcome: Outcome, reason: Reason | None = None, p: float | None = None, **shown: Any
    ) -> int:
        """A series ends, and is on record once more where it was; the number of its row."""
        self._minute += 1
        at = f"2026-03-01T{self._minute // 60:02}:{self._minute % 60:02}:03.400Z"
        row = self.journal.series(uid, uid.rpartition(".")[0], shown=Shown(**{"station": STATION, **shown}))
        current = self.journal.current(row.id)
        record = SeriesRecord(
            series_uid=uid,
            study_uid=row.study_uid,
            outcome=outcome,
            reason=reason,
            detail=f"{PATIENT_FILE}: something",
            revision=(current.revision or 0) + 1 if current else 1,
            reading_key=f"key {self._minute}",
            probability=p,
            operating_point=0.5,
            transfer_syntax="1.2.840.10008.1.2.1",
            last_slice_at=at.replace("03.400", "00.000"),
            recorded_at=at,
            slices=60,
            spacing_mm=(5.0, 0.7, 0.7),
        )
        self.journal.end(row.id, [], [Event("series", outcome)], finding=(record, "object", []))
        return row.id

    def end_file(self, path: str) -> int:
        """A file that belongs to no series ends."""
        row = self.journal.series(path, None)
        record = SeriesRecord(path=path, outcome=Outcome.FAILED, reason=Reason.UNREADABLE)
        record = replace(record, revision=1, reading_key=path, recorded_at="2026-03-01T09:00:00.000Z")
        self.journal.end(row.id, [], [], finding=(record, "object", []))
        return row.id

    def command(self, asked: Command) -> None:
        """As the main loop does: in another thread, a little later."""
        self.asked.append(asked)
        threading.Timer(0.02, self._do, [asked]).start()

    def _do(self, asked: Command) -> None:
        at = "2026-03-01T12:00:00.000Z"
        match asked:
            case MarkStudy(study, action, name, upto):
                changed = self.journal.mark(study, action, name, upto)
            case MarkFiles(name, upto):
                changed = self.journal.mark_files(name, upto)
            case Retry(subjects, name):
                changed = self.journal.try_again(subjects, at, asked_by=name)
        asked.done.set_result(changed)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def serve(site: Site, board: LiveBoard) -> Iterator[Callable[..., httpx.Client]]:
    running: list[tuple[Served, httpx.Client]] = []

    def serve(**how: Any) -> httpx.Client:
        how = {"command": site.command, "access": Access(), **how}
        server = Served(create_app(board, site.journal.path, died, **how))
        server.start()
        client = httpx.Client(base_url=server.url, headers={"X-Scanlight": "1"}, timeout=10)
        running.append((server, client))
        return client

    yield serve
    for server, client in running:
        client.close()
        server.stop()


@pytest.fixture
def client(serve: Callable[..., httpx.Client]) -> httpx.Client:
    return serve()


def numbers(client: httpx.Client, query: str = "") -> list[int]:
    answer = client.get(f"/api/studies?{query}")
    assert answer.status_code == 200, answer.text
    return [one["study"] for one in answer.json()]


def fill(site: Site) -> None:
    """Studies 1, 3, 4, 5, 6, in this order."""
    site.end("1.1.1", Outcome.SKIPPED, Reason.LOCALIZER)
    site.end("1.1.2", Outcome.NOT_FLAGGED, p=0.1)
    site.end("1.2.1", Outcome.FLAGGED, p=0.9, label="…1234", number=4, kernel="soft")
    site.end("1.3.1", Outcome.NOT_ANALYSED, Reason.MISSING_SLICE, station="OTHER")
    site.end("1.4.1", Outcome.SKIPPED, Reason.NOT_CT)
    site.end("1.5.1", Outcome.FAILED, Reason.ENGINE_ERROR)


def test_studies_are_there_newest_first(client: httpx.Client, site: Site) -> None:
    assert numbers(client) == []
    fill(site)
    assert numbers(client) == [6, 5, 4, 3, 1]
    (study,) = [one for one in client.get("/api/studies").json() if one["study"] == 3]
    assert study == {
        "study": 3,
        "finding": 3,
        "label": "…1234",
        "file": False,
        "unseen": [],
        "at": "2026-03-01T00:03:03.400Z",
        "state": "suspect",
        "outcome": "flagged",
        "reason": None,
        "probability": 0.9,
        "operating_point": 0.5,
        "revision": 1,
        "flagged_ever": True,
        "earlier_flag": False,
        "attention": True,
        "acknowledged": None,
        "seen": None,
        "series": 1,
        "in_progress": 0,
        "time_to_flag_s": 3.4,
    }
    # What something new is found of is new.
    site.end("1.2.2", Outcome.SKIPPED, Reason.DERIVED)
    assert numbers(client) == [3, 6, 5, 4, 1]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("limit=2", [6, 5]),
        ("before=5", [4, 3, 1]),
        ("before=1", []),
        ("outcome=flagged", [3]),
        ("outcome=failed,not_flagged", [6, 1]),
        ("open=yes", [6, 4, 3]),
        ("open=yes&before=6&limit=1", [4]),
        ("skipped=no", [6, 4, 3, 1]),
        ("station=OTHER", [4]),
        ("station=nowhere", []),
        ("from=2026-03-01T00:04:00Z", [6, 5, 4]),
        ("to=2026-03-01T00:04:00Z", [3, 1]),
        ("from=2026-03-01T01:04:00%2B01:00&to=2026-03-01T00:05:00Z&station=OTHER", [4]),
        ("from=2026-03-02", []),
    ],
)
def test_the_history_has_filters(client: httpx.Client, site: Site, query: str, found: list[int]) -> None:
    fill(site)
    assert numbers(client, query) == found


def test_a_study_is_found_by_what_it_is_shown_as_and_by_what_was_not_read(
    client: httpx.Client, site: Site
) -> None:
    fill(site)
    site.end("1.2.1", Outcome.NOT_FLAGGED, p=0.2)
    site.end("1.2.8", Outcome.NOT_ANALYSED, Reason.MISSING_SLICE)
    assert numbers(client, "outcome=flagged") == [3]
    assert numbers(client, "outcome=not_flagged") == [1]
    assert numbers(client, "outcome=not_analysed&open=yes") == [3, 4]
    study = client.get("/api/studies/3").json()
    assert study["unseen"] == [{"outcome": "not_analysed", "reason": "missing_slice"}]
    assert act(client, "3/acknowledge", name="A")[0] == 200
    study = client.get("/api/studies/3").json()
    assert (study["state"], len(study["unseen"])) == ("not_analysed", 1)
    assert act(client, "3/seen", name="A")[0] == 200
    assert client.get("/api/studies/3").json()["unseen"] == []


def test_damaged_files_are_seen_all_at_once_up_to_what_was_on_the_screen(
    client: httpx.Client, site: Site
) -> None:
    fill(site)
    files = [site.end_file(f"{number}.dcm") for number in range(3)]
    upto = client.get("/api/studies").json()[0]["finding"]
    late = site.end_file("late.dcm")
    assert {one["study"] for one in client.get("/api/studies").json() if one["file"]} == {*files, late}
    answer = client.post("/api/files/seen", json={"name": "A", "upto": upto})
    assert (answer.status_code, answer.json()) == (200, {"findings": 3})
    assert numbers(client, "open=yes") == [late, 6, 4, 3]
    assert client.get(f"/api/studies/{files[0]}").json()["seen"]["name"] == "A"
    assert client.post("/api/files/seen", json={"name": "A"}).json() == {"findings": 1}
    again = client.post("/api/files/seen", json={"name": "A"})
    assert (again.status_code, again.json()["error"][:7]) == (409, "No file")
    assert client.post("/api/files/seen", json={}).status_code == 400


def test_page_by_page_nothing_is_missed_or_there_twice(
    client: httpx.Client, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "STUDIES_AT_ONCE", 3)
    monkeypatch.setattr(studies, "FINDINGS_AT_ONCE", 5)
    for number in range(40):
        outcome = Outcome.FLAGGED if number % 7 == 0 else Outcome.NOT_FLAGGED
        site.end(f"1.{number % 13}.{number}", outcome, p=0.5)
    for query, expected in (("", 13), ("outcome=flagged&", 6), ("outcome=failed&", 0)):
        found: list[dict[str, Any]] = []
        while page := client.get(
            f"/api/studies?{query}limit=4&before={found[-1]['finding'] if found else 10**9}"
        ).json():
            found += page
        assert len(found) == len({one["study"] for one in found}) == expected
        assert [one["finding"] for one in found] == sorted((one["finding"] for one in found), reverse=True)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "before=0",
        f"before={2**63}",
        "outcome=positive",
        "open=maybe",
        "from=now",
        "to=2026-13-01",
        "from=0001-01-01T00:00:00%2B23:00",
    ],
)
def test_a_wrong_filter_is_told_what_is_right(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/api/studies?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(f"{query.partition('=')[0]} must be ")


def test_a_study_has_its_series_with_reasons_and_revisions(client: httpx.Client, site: Site) -> None:
    fill(site)
    site.end("1.2.1", Outcome.NOT_FLAGGED, p=0.2)
    site.journal.series("1.2.9", "1.2")
    study = client.get("/api/studies/3").json()
    assert study["state"] == "suspect"
    assert study["earlier_flag"]
    assert (study["best"], study["in_progress"]) == (3, 1)
    first, second = study["series"]
    assert {key: first[key] for key in ("id", "number", "kernel", "uid_end", "earlier_flag", "revision")} == {
        "id": 3,
        "number": 4,
        "kernel": "soft",
        "uid_end": "1.2.1",
        "earlier_flag": True,
        "revision": 2,
    }
    assert [(one["revision"], one["outcome"], one["probability"]) for one in first["revisions"]] == [
        (1, "flagged", 0.9),
        (2, "not_flagged", 0.2),
    ]
    assert first["transfer_syntax"] == "1.2.840.10008.1.2.1"
    assert (second["in_progress"], second["outcome"], second["revisions"]) == (True, None, [])


def test_nothing_that_names_a_patient_a_scanner_or_a_file_is_told(client: httpx.Client, site: Site) -> None:
    uid = "1.2.826.0.1.3680043.8.498.123456789"
    site.end(uid, Outcome.FAILED, Reason.UNREADABLE)
    row = site.journal.series(PATIENT_FILE, None)
    record = SeriesRecord(path=PATIENT_FILE, outcome=Outcome.FAILED, revision=1, reading_key="k")
    site.journal.end(row.id, [], [], finding=(replace(record, recorded_at="2026"), "object", []))
    text = "".join(client.get(path).text for path in ("/api/studies", "/api/studies/1", "/api/studies/2"))
    for secret in (PATIENT_FILE, "DOE", STATION, uid, uid.rpartition(".")[0]):
        assert secret not in text
        assert json.dumps(secret)[1:-1] not in text
    (series,) = client.get("/api/studies/2").json()["series"]
    assert (series["what"], series["uid_end"]) == ("a file that belongs to no series", None)
    assert client.get("/api/studies/1").json()["series"][0]["uid_end"] == "456789"


@pytest.mark.parametrize("path", ["2", "0", str(2**64), "2/series/1/images"])
def test_there_is_no_such_study(client: httpx.Client, site: Site, path: str) -> None:
    site.end("1.1.1", Outcome.FLAGGED)
    answer = client.get(f"/api/studies/{path}")
    assert answer.status_code == 404


def act(client: httpx.Client, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = client.post(f"/api/studies/{path}", json=body)
    return answer.status_code, answer.json()


def test_a_flag_is_acknowledged_with_a_name_and_taken_back(client: httpx.Client, site: Site) -> None:
    fill(site)
    assert act(client, "3/acknowledge", name=" Dr. Müller ") == (200, {"findings": 1})
    study = client.get("/api/studies/3").json()
    assert (study["state"], study["acknowledged"]["name"]) == ("acknowledged", "Dr. Müller")
    assert study["series"][0]["revisions"][0]["acknowledged"] == study["acknowledged"]
    status, answer = act(client, "3/acknowledge", name="Dr. Other")
    assert (status, answer) == (409, {"error": "No flag of this study waits for somebody."})
    assert act(client, "3/take-back", name="Dr. Other") == (200, {"findings": 1})
    study = client.get("/api/studies/3").json()
    assert (study["state"], study["acknowledged"]) == ("suspect", None)
    assert [(mark["action"], mark["name"]) for mark in study["marks"]] == [
        ("acknowledged", "Dr. Müller"),
        ("taken_back", "Dr. Other"),
    ]


def test_what_came_after_the_look_stays_open(client: httpx.Client, site: Site) -> None:
    fill(site)
    upto = client.get("/api/studies/3").json()["finding"]
    site.end("1.2.2", Outcome.FLAGGED, p=0.8)
    assert act(client, "3/acknowledge", name="Dr. Example", upto=upto) == (200, {"findings": 1})
    assert client.get("/api/studies/3").json()["state"] == "suspect"
    assert act(client, "3/acknowledge", name="Dr. Example")[0] == 200
    assert client.get("/api/studies/3").json()["state"] == "acknowledged"


def test_what_was_not_analysed_is_seen_and_not_seen_again(client: httpx.Client, site: Site) -> None:
    fill(site)
    assert act(client, "4/acknowledge", name="A")[0] == 409
    assert act(client, "4/seen", name="A") == (200, {"findings": 1})
    study = client.get("/api/studies/4").json()
    assert (study["state"], study["seen"]["name"]) == ("seen", "A")
    assert act(client, "4/unseen", name="B") == (200, {"findings": 1})
    assert client.get("/api/studies/4").json()["state"] == "not_analysed"


def test_a_study_is_read_again_as_a_whole_or_in_part(client: httpx.Client, site: Site) -> None:
    fill(site)
    assert act(client, "1/retry", name="A") == (200, {"series": 2})
    assert act(client, "1/retry", name="A", series=[2]) == (200, {"series": 1})
    assert [(one.subjects, one.name) for one in site.asked if isinstance(one, Retry)] == [
        (("1.1.1", "1.1.2"), "A"),
        (("1.1.2",), "A"),
    ]
    marks = client.get("/api/studies/1").json()["marks"]
    assert [(mark["action"], mark["name"]) for mark in marks] == [("retried", "A")] * 2
    for wrong in ([3], "2", [True], ["2"], None):
        assert act(client, "1/retry", name="A", series=wrong)[0] == 400
    study = site.journal.series("1.9.1", "1.9").study
    assert act(client, f"{study}/retry", name="A")[0] == 409
    assert act(client, "99/retry", name="A")[0] == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "   "},
        {"name": 7 * "0123456789"},
        {"name": "a\nb"},
        {"name": "a", "upto": "1"},
        {"name": "a", "upto": -1},
        {"name": "a", "upto": True},
        {"name": "a", "upto": 2**70},
        {"name": None},
        [],
        "x",
    ],
)
def test_who_does_it_and_how_far_must_be_told(client: httpx.Client, site: Site, body: object) -> None:
    fill(site)
    answer = client.post("/api/studies/3/acknowledge", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"].endswith(".")
    assert client.get("/api/studies/3").json()["state"] == "suspect"
    assert site.asked == []


def test_a_name_that_the_proxy_gives_counts(serve: Callable[..., httpx.Client], site: Site) -> None:
    fill(site)
    client = serve(access=Access(user_header="X-Remote-User"))
    client.headers["X-Remote-User"] = "meier"
    assert act(client, "3/acknowledge", name="somebody else")[0] == 200
    assert client.get("/api/studies/3").json()["acknowledged"]["name"] == "meier"


def test_a_main_loop_that_is_held_up_is_not_waited_for(
    serve: Callable[..., httpx.Client], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(site)
    monkeypatch.setattr(actions, "ANSWER_S", 0.3)
    asked: list[Command] = []
    status, answer = act(serve(command=asked.append), "3/acknowledge", name="A")
    assert status == 503
    assert "does it when it can" in answer["error"]
    # The main loop still may say what came of it.
    asked[0].done.set_result(1)

    def full(_: Command) -> None:
        raise queue.Full

    assert act(serve(command=full), "3/acknowledge", name="A")[0] == 503


def test_a_page_without_commands_has_none(serve: Callable[..., httpx.Client], site: Site) -> None:
    fill(site)
    answer = serve(command=None).post("/api/studies/3/acknowledge", json={"name": "A"})
    assert answer.status_code == 404


@pytest.mark.parametrize("number", ["0", "9" * 30, "9" * 5000, "x", "-1", "1.0"])
def test_a_number_that_no_study_has_is_not_found(number: str, client: httpx.Client, site: Site) -> None:
    fill(site)
    assert client.get(f"/api/studies/{number}").status_code == 404
    assert client.get(f"/api/studies/{number}/series/{number}/slices/{number}.png").status_code == 404


def test_one_scanner_has_a_light_of_its_own(client: httpx.Client, site: Site, board: LiveBoard) -> None:
    fill(site)
    running = [
        InProgress("1.9.1", 40, "waiting", "2026-03-01T08:00:00.000Z", 7, station)
        for station in (STATION, "OTHER")
    ]
    board.publish(suspect=1, not_analysed=1, failed=1, newest_alarm=3, in_progress=tuple(running))
    whole = client.get("/api/status").json()
    assert whole["counts"] == {"suspect": 1, "not_analysed": 1, "failed": 1, "in_progress": 2}
    other = client.get("/api/status?station=OTHER").json()
    assert (other["state"], other["newest_alarm"]) == ("not_analysed", 0)
    assert other["counts"] == {"suspect": 0, "not_analysed": 1, "failed": 0, "in_progress": 1}
    mine = client.get(f"/api/status?station={STATION}").json()
    assert (mine["state"], mine["newest_alarm"]) == ("suspect", 3)
    nowhere = client.get("/api/status?station=nowhere").json()
    assert (nowhere["state"], nowhere["why"]) == ("fault", ["station_unknown"]), "it would be READY for ever"
    for text in map(json.dumps, (whole, other, mine, nowhere)):
        assert STATION not in text
    board.publish(folder_up=False)
    assert client.get("/api/status?station=nowhere").json()["state"] == "fault"


def test_a_light_of_one_scanner_says_since_when(client: httpx.Client, site: Site, board: LiveBoard) -> None:
    def since() -> str:
        return str(client.get("/api/status?station=OTHER").json()["since"])

    board.publish(published_at="2026-03-01T08:01:00.000Z")
    assert since() == "2026-03-01T08:01:00.000Z"
    board.publish(published_at="2026-03-01T08:02:00.000Z")
    assert since() == "2026-03-01T08:01:00.000Z"
    site.end("1.3.1", Outcome.FLAGGED, station="OTHER")
    assert since() == "2026-03-01T08:02:00.000Z"
    # Whoever asks for many names fills no memory.
    for number in range(70):
        assert client.get(f"/api/status?station=x{number}").status_code == 200
    board.publish(published_at="2026-03-01T08:03:00.000Z")
    assert since() == "2026-03-01T08:03:00.000Z"


def test_what_is_not_right_and_hinders_nothing_is_a_notice(client: httpx.Client, board: LiveBoard) -> None:
    assert client.get("/api/status").json()["notices"] == []
    board.publish(lamp="failing")
    status = client.get("/api/status").json()
    assert (status["state"], status["notices"]) == ("ready", ["lamp_failing"])
    assert set(status["notices"]) <= set(client.get("/api/codes").json()["notices"])

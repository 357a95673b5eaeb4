"""The daemon: a thin shell that feeds the state machine of each series and carries out its actions.

One process, crash-only: start-up is recovery, and an exception that leaves any thread ends the process for
the service manager to start it again. The threads meet in one bounded queue of messages, in the immutable
facts on the board, and in the journal.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import FrameType

from appliance import logs
from appliance.config import Config
from appliance.delivery.courier import Courier, DeliveriesOpen
from appliance.facts import Board, Facts, InProgress, ModelFacts
from appliance.findings.objects import ObjectStore
from appliance.findings.record import SeriesRecord, utc_now
from appliance.imaging.isolation import SlicePool
from appliance.in_flight import InFlight
from appliance.intake import folder
from appliance.intake.completeness import CompletedBy, Sentinel
from appliance.intake.desk import FileLost, FilePassed, IntakeDesk, SliceTaken
from appliance.intake.grouping import Copy
from appliance.intake.parsing import Parsed
from appliance.intake.watch import FilesSeen, Scanned, Watch
from appliance.journal import Event, Journal, JournalReader, KnownFile, SeriesRow
from appliance.known_answers import KnownAnswers
from appliance.lifecycle import (
    Action,
    Evidence,
    Life,
    Phase,
    ReadingDone,
    ReadingLost,
    SliceArrived,
    Tick,
    advance,
    next_tick,
)
from appliance.lifecycle import Event as LifeEvent
from appliance.reader import AnswersChecked, EngineReady, Job, Reader, ReadingFinished
from appliance.reading import ModelInUse, engine_failed, failed, key_of, rules_for, unread_record
from appliance.reasons import Outcome, Reason
from appliance.recorder import Recorder
from appliance.records import Arrival, Problem, Slice, SlicePlan
from appliance.state_folder import StateFolder
from appliance.web.app import create_app, create_metrics_app
from appliance.web.server import WebServer
from engines.bundle import ModelFile
from engines.protocol import Engine, EngineError

LOOP_S = 0.1
PUBLISH_S = 0.25
HOUSEKEEPING_S = 1.0
QUEUE_SIZE = 4096


class ThreadDied:
    """An exception left a thread."""

    def __init__(self, name: str, error: BaseException) -> None:
        self.name = name
        self.error = error


class EngineHung(Exception):
    """An engine call passed its deadline. It cannot be interrupted, so the process ends."""


Message = (
    FilesSeen
    | Scanned
    | Parsed
    | EngineReady
    | AnswersChecked
    | ReadingFinished
    | DeliveriesOpen
    | ThreadDied
)


class Daemon:
    """Everything between the folder and the light. `run` returns when a signal asks for it."""

    def __init__(
        self,
        config: Config,
        model: ModelFile,
        open_engine: Callable[[], Engine],
        *,
        accept_folder: bool = False,
    ) -> None:
        """Takes the state folder and binds the addresses; raises StateFolderError, JournalError, WebError."""
        self._config = config
        self._model = model
        spec = model.spec
        own = config.operating_point
        self._rules = rules_for(
            spec,
            lung_min_ml=config.lung_min_ml,
            axial_tolerance_deg=config.axial_tolerance_deg,
            operating_point=own.value if own else None,
            operating_point_reason=own.reason if own else "",
            moved=config.reasons,
        )
        self._messages: queue.Queue[Message] = queue.Queue(QUEUE_SIZE)
        self._stopping = False

        self._state = StateFolder(config.state_folder)
        self._lock = self._state.take(config.results)
        self._journal = Journal(self._state.journal)
        self._reader_of_journal = JournalReader(self._state.journal)
        objects = ObjectStore(self._state.objects)
        self._recorder = Recorder(
            self._journal, objects, self._rules, tries=config.tries, retry_after_s=config.retry_after_s
        )
        if accept_folder:
            self._journal.set_meta("export_mount", "")
        self._mount = self._journal.meta("export_mount") or None
        self._polling = self._polls()
        self._pace = config.pace(polling=self._polling)
        sentinel = config.completeness.sentinel
        self._sentinel = Sentinel(sentinel.glob, sentinel.scope) if sentinel else None

        self._series: dict[str, InFlight] = {}
        self._jobs: dict[int, InFlight] = {}
        self._job_number = 0
        self._unwritten: list[InFlight] = []
        self._files: list[KnownFile] = []
        self._events: list[Event] = []
        self._faults: set[str] = set()
        self._recovered = False

        self._started_at = utc_now()
        self._engine: Engine | None = None
        self._scanned: Scanned | None = None
        self._answers: AnswersChecked | None = None
        self._deliveries = DeliveriesOpen({}, failing=False)
        self._counts = self._reader_of_journal.counts()
        self._model_facts = ModelFacts(
            name=spec.name,
            version=spec.version,
            digest=model.digest,
            intended_use=spec.intended_use,
            notice=spec.notice,
            operating_point=self._rules.operating_point,
            engine=None,
        )
        self._pool = SlicePool(config.workers, config.worker_memory_mb, config.worker_timeout_s)
        created = datetime.fromisoformat(self._journal.meta("created_at") or self._started_at)
        self._desk = IntakeDesk(
            self._pool,
            config.workers,
            SlicePlan(in_plane_mm=spec.grid.spacing_mm[1:], grid=spec.grid.size[1:]),
            self._messages.put,
            tries=config.tries,
            sentinel=self._sentinel,
            old_before_ns=(created.timestamp() - config.backlog_h * 3600) * 1e9,
        )
        self._board = Board(self._facts())
        self._watch = Watch(
            config.export_folder,
            self._messages.put,
            known=((one.path, one.identity) for one in self._journal.known_files()),
            mount=self._mount,
            rescan_s=config.rescan_s,
            hints=not self._polling,
            first_scan=self._journal.meta("first_scan_at") is None,
        )
        self._reader = Reader(
            open_engine, self._known_answers, self._rules, config.known_answer_interval_s, self._messages.put
        )
        self._courier = Courier(self._journal, objects, config.results, self._messages.put)
        self._servers = self._bind()

    def _polls(self) -> bool:
        if self._config.polling != "auto":
            return self._config.polling == "on"
        try:
            return folder.mount_of(self._config.export_folder).is_network
        except (folder.FolderDown, OSError):
            return False

    def _bind(self) -> list[WebServer]:
        host, port = split_address(self._config.listen)
        servers = [WebServer(create_app(self._board, self._state.journal), host, port)]
        if self._config.metrics_listen not in (None, self._config.listen):
            host, port = split_address(self._config.metrics_listen)
            servers.append(WebServer(create_metrics_app(self._board, self._state.journal), host, port))
        return servers

    def _known_answers(self, engine: Engine) -> KnownAnswers:
        def read_slices(paths: Sequence[Path], plan: SlicePlan) -> list[Slice]:
            return [future.result() for future in [self._pool.submit(path, plan) for path in paths]]

        return KnownAnswers(engine, self._rules, read_slices, self._state.path / "known-answers")

    # The process

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT. What was in progress at a crash is found again by reading."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        threading.excepthook = self._on_thread_exception
        self._journal.abandon_tries()
        logs.event("started", pid=os.getpid(), model=self._model.spec.name, digest=self._model.digest)
        for server in self._servers:
            server.start()
        self._pool.warm()
        for thread in (self._reader, self._courier, self._watch):
            thread.start()
        self._loop()
        self._stop()
        logs.event("stopped")

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _on_thread_exception(self, failure: threading.ExceptHookArgs) -> None:
        name = failure.thread.name if failure.thread else "unknown"
        if failure.exc_value is not None:
            self._messages.put(ThreadDied(name, failure.exc_value))

    def _stop(self) -> None:
        self._watch.stop()
        self._reader.stop()
        self._courier.stop()
        for server in self._servers:
            server.stop()
        self._pool.close()
        for thread in (self._courier, self._reader):
            if thread.is_alive():
                thread.join(timeout=self._config.engine_deadline_s)
        self._flush_files()
        self._journal.close()

    def _loop(self) -> None:
        published = housekept = 0.0
        while not self._stopping:
            try:
                self._handle(self._messages.get(timeout=LOOP_S))
                while not self._messages.empty():
                    self._handle(self._messages.get_nowait())
            except queue.Empty:
                pass
            now = time.monotonic()
            if self._reader.busy_for(now) > self._config.engine_deadline_s:
                raise EngineHung(f"The engine took more than {self._config.engine_deadline_s:g} s.")
            self._tick(now)
            if now - housekept >= HOUSEKEEPING_S:
                self._housekeep(now)
                housekept = now
            if now - published >= PUBLISH_S:
                self._board.facts = self._facts()
                published = now

    def _handle(self, message: Message) -> None:
        match message:
            case FilesSeen():
                for sentinel in self._desk.seen(message):
                    self._taken(sentinel)
            case Scanned():
                self._folder_scanned(message)
            case Parsed():
                self._taken(self._desk.parsed(message))
            case EngineReady(engine):
                self._engine = engine
                self._model_facts = replace(self._model_facts, engine=engine.identity)
                logs.event("engine_ready", runner=engine.identity.runner, device=engine.identity.device)
            case AnswersChecked():
                self._answers = message
                logs.event("known_answers", ok=message.wrong is None)
            case ReadingFinished():
                self._reading_finished(message)
            case DeliveriesOpen():
                self._deliveries = message
                self._fault("results_folder", message.failing)
            case ThreadDied():
                logs.crash("thread_died", message.error, thread=message.name)
                raise message.error

    # From files to series

    def _taken(self, taken: SliceTaken | FilePassed | FileLost | None) -> None:
        match taken:
            case SliceTaken(one, _, old=True):
                self._before_installation(one)
            case SliceTaken(one, seen_at):
                self._take(one, seen_at)
            case FilePassed(arrival, kind):
                self._note_file(arrival, kind)
                if kind == "sentinel":
                    self._sentinel_seen(arrival)
            case FileLost(reason):
                self._events.append(Event("worker_restarts", reason.removeprefix("worker_")))

    def _sentinel_seen(self, arrival: Arrival) -> None:
        assert self._sentinel is not None
        for one in list(self._series.values()):
            study = {
                path
                for other in self._series.values()
                if other.study_uid == one.study_uid
                for path in other.folders
            }
            if self._sentinel.covers(arrival.path, one.folders, study):
                self._step(one, Evidence(CompletedBy.SENTINEL))

    def _folder_scanned(self, scanned: Scanned) -> None:
        if scanned.down is not None and (self._scanned is None or self._scanned.down is None):
            logs.event("export_folder_down", logging.ERROR, code=scanned.down.code)
        self._scanned = scanned
        if scanned.down is not None:
            return
        if scanned.mount and scanned.mount != self._mount:
            self._mount = scanned.mount
            self._journal.set_meta("export_mount", scanned.mount)
        if self._journal.meta("first_scan_at") is None:
            self._journal.set_meta("first_scan_at", utc_now())

    def _take(self, arrived: Slice, seen_at: float) -> None:
        header = arrived.header
        one = self._series.get(header.series_uid)
        if one is None:
            row = self._journal.series(header.series_uid, header.study_uid)
            life = Life.begin(seen_at)
            if row.ended:
                life = replace(life, phase=Phase.ENDED)
            one = InFlight(row, header.study_uid, life)
            self._series[header.series_uid] = one
            logs.event("series_seen", series=header.series_uid, known=row.ended)
        copy = one.take(arrived)
        kind = {Copy.NEW: "slice", Copy.SAME: "duplicate", Copy.REPLACES: "replaced"}[copy]
        self._events.append(Event("files", kind))
        if copy is Copy.SAME and one.life.phase is not Phase.ENDED:
            return
        one.last_slice_at = utc_now()
        self._step(one, SliceArrived(seen_at))
        if one.count_reached:
            self._step(one, Evidence(CompletedBy.COUNT))
        self._keep_within_memory(one)

    def _keep_within_memory(self, keep: InFlight) -> None:
        """Drop the planes of the series that waits longest, should all together take too much."""
        budget = self._config.memory_budget_mb * 2**20
        held = [one for one in self._series.values() if one.life.phase is Phase.RECEIVING and one is not keep]
        while held and sum(one.bytes for one in self._series.values()) > budget:
            victim = max(held, key=lambda one: one.bytes)
            if not victim.bytes:
                return
            victim.evict()
            held.remove(victim)
            logs.event("series_evicted", series=victim.row.subject)

    def _before_installation(self, one: Slice) -> None:
        header = one.header
        row = self._journal.series(header.series_uid, header.study_uid)
        self._note_file(one.arrival, "before_installation", row.id)
        if row.ended or header.series_uid in self._series:
            return
        problem = Problem(
            Reason.BEFORE_INSTALLATION,
            "The series was in the export folder before Scanlight was installed and is left alone.",
        )
        record = unread_record(problem, series_uid=header.series_uid, study_uid=header.study_uid)
        self._end_unread(row, record, deliver=False)

    def _note_file(self, arrival: Arrival, kind: str, series_id: int | None = None) -> None:
        self._files.append(KnownFile(str(arrival.path), arrival.identity, kind, series_id))
        self._events.append(Event("files", kind))

    # The life of a series

    def _step(self, one: InFlight, event: LifeEvent) -> None:
        one.life, action = advance(one.life, event, self._pace)
        match action:
            case Action.READ:
                self._read(one)
            case Action.RECORD:
                self._record(one)
            case Action.DISCARD:
                if one.reading is not None:
                    self._events.append(Event("readings_superseded"))
                one.reading = None
                one.job = None
            case Action.REOPEN:
                self._reopen(one)

    def _tick(self, now: float) -> None:
        for one in list(self._series.values()):
            due = next_tick(one.life, self._pace)
            if due is not None and now >= due:
                blocked = self._desk.blocks(one.folders, due)
                self._step(one, Tick(now, blocked))
        for arrival, problem in self._desk.overdue(now, self._pace.ceiling_s):
            self._record_file(arrival, problem)

    def _read(self, one: InFlight) -> None:
        one.complete_at = utc_now()
        if self._changed_since_parsed(one):
            self._step(one, ReadingLost())
            return
        row = self._journal.series(one.row.subject, one.study_uid)
        slices = tuple(one.slices.values())
        if one.gone:
            logs.event("late_slice_after_files_gone", logging.WARNING, series=row.subject)
            self._end_unchanged(one)
        elif self._journal.has_reading(row.id, key_of(slices, self._model.digest, self._rules)):
            self._end_unchanged(one)
        elif row.tries >= self._config.tries and not one.retry:
            one.reading = failed(
                Problem(
                    Reason.ENGINE_ERROR,
                    f"The process ended {row.tries} times in a row while the engine read this series.",
                ),
                slices,
            )
            self._step(one, ReadingDone(flagged=False))
        else:
            self._journal.charge_try(row.id)
            self._job_number += 1
            one.job = self._job_number
            self._jobs[one.job] = one
            self._reader.submit(Job(one.job, row.id, slices, time.monotonic()))

    def _changed_since_parsed(self, one: InFlight) -> bool:
        """Read files again that are not what was parsed, and planes that were dropped to save memory."""
        again = False
        for path, (known, _) in list(one.paths.items()):
            current = folder.arrival(path)
            if current is None:
                one.gone = one.gone or one.evicted
            elif one.evicted or current.identity != known.identity:
                again = True
                if current.identity != known.identity:
                    one.drop(path)
                self._desk.read_again(current, one.life.last_slice)
        if one.evicted and again:
            one.slices.clear()
            one.paths.clear()
        one.evicted = False
        return again

    def _reading_finished(self, finished: ReadingFinished) -> None:
        one = self._jobs.pop(finished.job.number)
        current = one.job == finished.job.number
        one.job = None
        if isinstance(finished.result, EngineError):
            self._journal.settle_try(finished.job.series_id, success=False)
            logs.event("engine_error", logging.ERROR, series=one.row.subject, why=str(finished.result))
            row = self._journal.series(one.row.subject, one.study_uid)
            if row.tries < self._config.tries or not current:
                self._step(one, ReadingLost())
                return
            one.reading = failed(engine_failed(finished.result), finished.job.slices)
        else:
            self._journal.settle_try(finished.job.series_id, success=True)
            one.reading = finished.result
        one.queue_ms = finished.queue_ms
        self._step(one, ReadingDone(one.reading.outcome is Outcome.FLAGGED))

    def _reopen(self, one: InFlight) -> None:
        """A late slice of a series that ended: read its other files again."""
        self._journal.reopen(one.row.id)
        for known in self._journal.files_of(one.row.id):
            path = Path(known.path)
            if path in one.paths:
                continue
            current = folder.arrival(path)
            if current is None:
                one.gone = True
            else:
                self._desk.read_again(current, one.life.last_slice)
        logs.event("series_reopened", series=one.row.subject)

    def _record(self, one: InFlight) -> None:
        try:
            recorded = self._recorder.record(one, self._model_in_use())
        except (OSError, sqlite3.OperationalError) as error:
            self._disk_failed(error)
            self._unwritten.append(one)
        else:
            self._ended(one.row.subject, recorded)

    def _end_unchanged(self, one: InFlight) -> None:
        """The same reading again, or one that can never be made: what is on record stands."""
        self._recorder.end_unchanged(one)
        self._ended(one.row.subject, None)

    def _end_unread(
        self, row: SeriesRow, record: SeriesRecord, files: Sequence[KnownFile] = (), *, deliver: bool = True
    ) -> None:
        self._ended(row.subject, self._recorder.record_unread(row, record, files, deliver=deliver))

    def _ended(self, subject: str, record: SeriesRecord | None) -> None:
        self._series.pop(subject, None)
        self._counts = self._reader_of_journal.counts()
        self._courier.wake()
        self._fault("state_disk", False)
        if record is None:
            logs.event("series_unchanged")
            return
        logs.event(
            "finding",
            series=record.series_uid,
            revision=record.revision,
            outcome=record.outcome,
            reason=record.reason,
        )

    def _model_in_use(self) -> ModelInUse:
        return ModelInUse(self._model.spec, self._model.digest, self._engine and self._engine.identity)

    # Now and then

    def _housekeep(self, now: float) -> None:
        try:
            self._flush_files()
            for one in self._unwritten[:]:
                self._unwritten.remove(one)
                self._record(one)
            self._retry_due()
            self._end_vanished()
        except (OSError, sqlite3.OperationalError) as error:
            self._disk_failed(error)

    def _flush_files(self) -> None:
        if self._files or self._events:
            self._journal.add_files(self._files, self._events)
            self._files.clear()
            self._events.clear()

    def _retry_due(self) -> None:
        for row in self._journal.due_tries(utc_now()):
            if row.subject in self._series:
                continue
            self._journal.reopen(row.id)
            if row.study_uid is None:
                path = self._config.export_folder / row.subject
                current = folder.arrival(path)
                if current is not None:
                    self._desk.read_again(current, time.monotonic(), tries=1)
                continue
            one = InFlight(row, row.study_uid, Life.begin(time.monotonic()), retry=True)
            self._series[row.subject] = one
            self._reopen(one)

    def _end_vanished(self) -> None:
        """After the first look at the whole folder: what was in flight before and is not there any more."""
        if self._recovered or self._scanned is None or self._scanned.down or len(self._desk):
            return
        if self._engine is None:
            return
        self._recovered = True
        for seen in self._reader_of_journal.in_flight():
            subject = seen.series_uid or seen.path or ""
            if subject in self._series or self._desk.holds(self._config.export_folder / subject):
                continue
            problem = Problem(
                Reason.FILES_GONE,
                "The files vanished from the export folder before they were read: export the series again.",
            )
            row = self._journal.series(subject, seen.study_uid)
            record = unread_record(
                problem, series_uid=seen.series_uid, study_uid=seen.study_uid, path=seen.path
            )
            self._end_unread(row, record)

    def _record_file(self, arrival: Arrival, problem: Problem) -> None:
        """A file that belongs to no series ends on its own, under its path in the export folder."""
        subject = str(arrival.path.relative_to(self._config.export_folder))
        row = self._journal.series(subject, None)
        record = unread_record(problem, path=subject, identity=arrival.identity)
        self._events.append(Event("files", "unreadable"))
        self._end_unread(row, record, [KnownFile(str(arrival.path), arrival.identity, "unreadable", row.id)])

    def _disk_failed(self, error: Exception) -> None:
        if "state_disk" not in self._faults:
            logs.crash("state_disk_failed", error)
        self._fault("state_disk", True)

    def _fault(self, code: str, present: bool) -> None:
        (self._faults.add if present else self._faults.discard)(code)

    def _facts(self) -> Facts:
        now, wall = time.monotonic(), time.time()
        scanned, answers, counts = self._scanned, self._answers, self._counts
        in_flight = tuple(
            InProgress(one.row.subject, len(one.slices), one.stage, one.row.first_seen_at)
            for one in self._series.values()
        )
        oldest = [one.life.last_slice for one in self._series.values()]
        parsing = self._desk.oldest()
        if parsing is not None:
            oldest.append(parsing)
        return Facts(
            heartbeat=now,
            published_at=utc_now(),
            started_at=self._started_at,
            folder_up=scanned is None or scanned.down is None,
            rescan_age_s=None if scanned is None else now - scanned.at,
            rescan_limit_s=3 * self._config.rescan_s + (scanned.took_s if scanned else 0.0),
            rescan_at=None if scanned is None else wall - (now - scanned.at),
            known_answer_ok=None if answers is None else answers.wrong is None,
            known_answer_age_s=None if answers is None else now - answers.at,
            known_answer_limit_s=2 * self._config.known_answer_interval_s,
            known_answer_at=None if answers is None else wall - (now - answers.at),
            model=self._model_facts,
            accepted=False,
            faults=tuple(sorted(self._faults)),
            suspect=counts.suspect,
            not_analysed=counts.not_analysed,
            failed=counts.failed,
            in_progress=in_flight,
            queue_depth={
                "parse": len(self._desk),
                "infer": len(self._jobs),
                "record": len(self._unwritten),
            },
            oldest_pending_s=now - min(oldest) if oldest else 0.0,
            delivery_oldest_s={
                destination: max(0.0, wall - datetime.fromisoformat(since).timestamp())
                for destination, since in self._deliveries.oldest.items()
            },
            disk_free_bytes=self._disk_free(),
            conservation_error=counts.series - counts.ended - counts.in_flight,
        )

    def _disk_free(self) -> dict[str, int]:
        free = {}
        for volume, path in (("state", self._state.path), ("export", self._config.export_folder)):
            try:
                status = os.statvfs(path)
            except OSError:
                continue
            free[volume] = status.f_bavail * status.f_frsize
        return free


def split_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)

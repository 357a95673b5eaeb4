"""The daemon: a thin shell that feeds the state machine of each series and carries out its actions.

One process, crash-only: start-up is recovery, and an exception that leaves any thread ends the process for
the service manager to start it again. The threads meet in one bounded queue of messages, in the immutable
facts on the board, and in the journal.
"""

from __future__ import annotations

import contextlib
import itertools
import json
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
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from appliance import logs
from appliance.acceptance import AcceptanceFile, Subject
from appliance.addresses import split
from appliance.audit import AuditLog, difference, missing
from appliance.clock import utc_now
from appliance.config import Config, ConfigError
from appliance.config_problems import without_secrets
from appliance.control import Command, MarkFiles, MarkStudy, Retry
from appliance.delivery.courier import Courier, DeliveriesOpen
from appliance.facts import Board, Facts, ModelFacts, Reloaded
from appliance.faults import reach
from appliance.findings.objects import ObjectStore
from appliance.findings.record import printable
from appliance.gpu import Gpus
from appliance.imaging.isolation import SlicePool
from appliance.intake import folder
from appliance.intake.completeness import Sentinel
from appliance.intake.desk import Became, FileGone, FileLeft, FileLost, FilePassed, IntakeDesk, SliceTaken
from appliance.intake.installation import Installation
from appliance.intake.parsing import Parsed
from appliance.intake.watch import FilesSeen, OddSeen, Scanned, SentinelSeen, Watch
from appliance.journal import AUDIT_UPTO, OTHER, Journal, JournalError, JournalReader, Mark, is_blank
from appliance.keeper import Keeper
from appliance.known_answers import KnownAnswers, by_workers
from appliance.lamp import Lamp
from appliance.light import light, one_line
from appliance.previews import Previews
from appliance.reader import AnswersChecked, EngineNotOpened, EngineReady, Reader, ReadingFinished
from appliance.reading import ModelInUse, rules_for, rules_of
from appliance.recorder import Recorder
from appliance.records import SlicePlan
from appliance.reload import compare
from appliance.service import ServiceManager
from appliance.shown import shown
from appliance.state_disk import GivenUp, StateDisk
from appliance.state_folder import StateFolder
from appliance.web.access import Access
from appliance.web.app import create_app, create_metrics_app
from appliance.web.certificate import Certificate
from appliance.web.server import WebServer, tcp, unix
from appliance.web.status import VERSION, Observer
from engines.bundle import ModelFile
from engines.protocol import DeviceLost, Engine

LOOP_S = 0.05
PUBLISH_S = 0.25
HOUSEKEEPING_S = 1.0
OPENING_S = 300.0
"""An engine that is opened for the first time may be compiled for its device."""
FIRST_ANSWERS_S = 60.0
DELIVERY_S = 15.0
"""After so long without known answers, or without an answer of the results folder, somebody should look."""
STOP_S = 8.0
GPUS_STOP_S = 1.0
"""A driver that hangs is not waited for: its thread holds nothing that must be finished."""
HEARTBEAT_S = 10.0
"""After so long without news of the main loop the lamp shows that it hangs."""
QUEUE_SIZE = 4096
WATCH_BACKLOG = 64
BACKLOG_AT_ONCE = 200
"""So many files from before the installation are on their way at a time, to name their series."""


class ThreadDied:
    """An exception left a thread."""

    def __init__(self, name: str, error: BaseException) -> None:
        self.name = name
        self.error = error


class EngineHung(Exception):
    """An engine call passed its deadline. It cannot be interrupted, so the process ends."""


Message = (
    FilesSeen
    | OddSeen
    | SentinelSeen
    | Scanned
    | Parsed
    | EngineNotOpened
    | EngineReady
    | AnswersChecked
    | ReadingFinished
    | DeliveriesOpen
    | Command
    | ThreadDied
)


class Daemon:
    """Everything between the folder and the light. `run` returns when a signal asks for it."""

    def __init__(
        self,
        config: Config,
        model: ModelFile,
        open_engine: Callable[[], Engine],
        read_config: Callable[[], Config],
        *,
        accept_folder: bool = False,
    ) -> None:
        """Takes the state folder and binds the addresses. `read_config` reads the configuration again, and
        raises ConfigError.

        Raises StateFolderError, JournalError, TokenError, CertificateError, WebError, or WrongModel.
        """
        self._config = config
        self._read_config = read_config
        self._reload_asked = False
        self._reloaded: Reloaded | None = None
        self._model = ModelInUse(model.spec, model.digest, None)
        self._file = model
        self._engine_why = ""
        self._rules = rules_of(config, model.spec)
        self._messages: queue.Queue[Message] = queue.Queue(QUEUE_SIZE)
        self._stopping = False
        self._service = ServiceManager()
        self._started_at = utc_now()
        self._began = time.monotonic()
        self._scanned: Scanned | None = None
        self._answers: AnswersChecked | None = None
        self._deliveries = DeliveriesOpen({}, failing=False)
        self._recovered = False
        self._unaccounted = 0

        self._state = StateFolder(config.state_folder)
        self._lock = self._state.take(config.results)
        if _is_lost(self._state.journal) and (left := _left_behind(config, self._state)) is not None:
            raise JournalError(
                f"There is {left} and no journal at {self._state.journal}: run scanlight rebuild, so that"
                " nothing is delivered twice."
            )
        self._disk = StateDisk()
        self._journal = Journal(self._state.journal, self._disk)
        self._audit = AuditLog(self._state.audit, self._disk)
        short = missing(self._audit.last, self._journal.meta(AUDIT_UPTO))
        self._journal.number_audit_after(self._audit.last)
        if short is not None:
            logs.event("audit_log_shortened", logging.ERROR)
            self._journal.note_audit("audit_log_shortened", detail=short)
        self._journal_reader = JournalReader(self._state.journal)
        self._watch_reader = JournalReader(self._state.journal)
        self._acceptance = AcceptanceFile(self._state.acceptance)
        self._acceptance.look()
        self._counts = self._journal_reader.counts()
        if accept_folder:
            self._journal.set_meta("export_mount", "")
        self._mount = self._journal.meta("export_mount") or None
        self._build(open_engine)
        self._board = Board(self._facts())
        self._observer = Observer(self._board, HEARTBEAT_S)
        self._servers = self._bind()
        self._disk.while_waiting = self._wait_for_the_disk

    def _build(self, open_engine: Callable[[], Engine]) -> None:
        """The stages, from left to right."""
        config, journal, post = self._config, self._journal, self._messages.put
        polling = folder.is_polled(config.export_folder, config.polling)
        wanted = config.completeness.sentinel
        sentinel = Sentinel(wanted.glob, wanted.scope) if wanted else None
        first_start = journal.meta("first_scan_at") is None
        created = datetime.fromisoformat(journal.meta("created_at") or self._started_at)
        objects = ObjectStore(self._state.objects, self._disk)
        self._watch = Watch(
            config.export_folder,
            self._post_patiently,
            known=((one.path, one.identity, one.changed_ns) for one in journal.known_files()),
            mount=self._mount,
            bare=self._mount is None and self._counts.series == 0,
            rescan_s=config.rescan_s,
            hints=not polling,
            sentinel=sentinel,
            not_on_record=self._watch_reader.not_on_record,
        )
        self._pool = SlicePool(config.workers, config.worker_memory_mb, config.worker_timeout_s)
        self._desk = IntakeDesk(
            self._pool,
            config.workers,
            SlicePlan.for_grid(self._model.spec.grid, follow_links=False),
            post,
            tries=config.tries,
            installation=Installation.of(created, config.backlog_h) if first_start else None,
        )
        self._reader = Reader(
            open_engine,
            self._known_answers,
            config.known_answer_interval_s,
            journal.charge_try,
            post,
        )
        self._recorder = Recorder(journal, objects, config.retry_after_s)
        self._previews = Previews(self._state.previews, config.keep_images_days)
        self._keeper = Keeper(
            journal,
            self._recorder,
            self._desk,
            self._rules,
            config.pace(polling=polling),
            self._model,
            self._reader.submit,
            self._series_ended,
            self._watch.look,
            partial(shown, label=config.label),
            export_folder=config.export_folder,
            sentinel=sentinel,
            tries=config.tries,
            memory_budget=config.memory_budget_mb * 2**20,
            progress=self._service.progress,
            keep_images=self._previews.keep,
        )
        self._courier = Courier(journal, objects, config.results, post)
        self._lamp = Lamp(lambda: self._observer.look()[1], config.lamp)
        self._gpus = Gpus()

    def _bind(self) -> list[WebServer]:
        """The page, the metrics where they have an address of their own, and the socket for commands."""
        board, journal = self._board, self._state.journal
        died = partial(self._thread_died, "web")
        access, tls = Access.of(self._config), self._config.tls
        certificate = None if tls is None else Certificate(tls.certificate, tls.key)
        ask, previews = self._messages.put_nowait, self._state.previews
        page = create_app(board, journal, died, access=access, command=ask, previews=previews)
        servers = [WebServer(page, tcp(*split(self._config.listen)), certificate)]
        if self._config.metrics_listen not in (None, self._config.listen):
            listening = tcp(*split(self._config.metrics_listen))
            servers.append(WebServer(create_metrics_app(board, journal, died), listening))
        control = create_app(board, journal, died, command=ask, private=True, previews=previews)
        servers.append(WebServer(control, unix(self._state.control)))
        return servers

    def _known_answers(self, engine: Engine) -> KnownAnswers:
        return KnownAnswers(
            engine,
            rules_for(engine.spec),
            by_workers(self._pool),
            self._state.known_answers,
            self._disk,
            self._file.known_answers,
        )

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT. What was in progress at a crash is found again by reading.

        An exception means that the process must end at once, without the threads: they may hang.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, self._on_hangup)
        threading.excepthook = self._on_thread_exception
        logs.event("started", pid=os.getpid(), model=self._model.spec.name, digest=self._model.digest)
        for server in self._servers:
            server.start()
        self._journal.abandon_tries()
        self._note_start()
        self._journal.narrow_labels(self._config.label)
        self._pool.start()
        for thread in (
            self._reader,
            self._courier,
            self._watch,
            self._previews,
            self._lamp,
            self._gpus,
        ):
            thread.start()
        with contextlib.suppress(GivenUp):
            self._loop()
        self._stop()
        logs.event("stopped")

    def _note_start(self) -> None:
        """What is another than at the last start goes into the audit log."""
        now = {
            "configuration": _as_json(self._config.model_dump(mode="json")),
            "model": f"{self._model.spec.name} {self._model.spec.version} {self._model.digest}",
            "version": VERSION,
        }
        for key, value in now.items():
            before = kept = self._journal.meta(key)
            if key == "configuration" and kept is not None:
                # A version that hid no secrets may have kept it.
                before = _as_json(json.loads(kept))
            if value != before:
                self._journal.note_audit(f"{key}_changed", changed=difference(before, value))
            if value != kept:
                self._journal.set_meta(key, value)

    def _note_acceptance(self) -> None:
        """Whoever signed an acceptance test meanwhile goes into the audit log."""
        self._acceptance.look()
        accepted = self._acceptance.accepted
        if accepted is None:
            return
        signature = f"{accepted.report_sha256} {accepted.signed_at}"
        if self._journal.meta("acceptance") != signature:
            self._journal.note_audit(
                "accepted", names=accepted.signed_by, report=accepted.report_sha256, signed=accepted.signed_at
            )
            self._journal.set_meta("acceptance", signature)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True

    def _on_hangup(self, number: int, frame: FrameType | None) -> None:
        self._reload_asked = True

    def _on_thread_exception(self, failure: threading.ExceptHookArgs) -> None:
        if failure.exc_value is not None:
            self._thread_died(failure.thread.name if failure.thread else "unknown", failure.exc_value)

    def _thread_died(self, name: str, error: BaseException) -> None:
        self._messages.put(ThreadDied(name, error))

    def _wait_for_the_disk(self) -> None:
        """Called while a write of the main loop waits: it goes on as far as it can, and can be stopped."""
        if self._stopping:
            self._disk.give_up()
        self._beat(time.monotonic())

    def _post_patiently(self, message: FilesSeen | OddSeen | SentinelSeen | Scanned) -> None:
        """The watch alone can bring more than is worked off; everything else is bounded by what runs."""
        while self._messages.qsize() > WATCH_BACKLOG and not self._stopping:
            time.sleep(LOOP_S)
        self._messages.put(message)

    def _stop(self) -> None:
        self._service.stopping()
        self._watch.stop()
        self._reader.stop()
        self._courier.stop()
        self._previews.stop()
        self._lamp.stop()
        self._gpus.stop()
        self._disk.give_up()
        for server in self._servers:
            server.ask_to_stop()
        end = time.monotonic() + STOP_S
        self._pool.close()
        threads: Sequence[Reader | Courier | Previews | Lamp | WebServer] = (
            self._courier,
            self._reader,
            self._previews,
            self._lamp,
            *self._servers,
        )
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        self._gpus.join(GPUS_STOP_S)
        with contextlib.suppress(GivenUp):
            self._recorder.flush()
            self._journal.return_tries()
            self._audit.follow(self._journal)
        self._journal.close()

    def _loop(self) -> None:
        published = housekept = 0.0
        while not self._stopping:
            try:
                self._handle(self._messages.get(timeout=LOOP_S))
                for _ in range(self._messages.qsize()):
                    self._service.progress()
                    self._handle(self._messages.get_nowait())
            except queue.Empty:
                pass
            reach("loop.turned")
            self._service.ready()
            if self._reload_asked:
                self._reload_asked = False
                self._reload()
            now = time.monotonic()
            self._keeper.tick(now)
            if now - housekept >= HOUSEKEEPING_S:
                self._housekeep()
                housekept = now
            if now - published >= PUBLISH_S:
                self._beat(now)
                published = now

    def _beat(self, now: float) -> None:
        """Show that the loop moves, and what is true now."""
        if self._reader.busy_for(now) > self._config.engine_deadline_s:
            raise EngineHung(f"The engine took more than {self._config.engine_deadline_s:g} s.")
        if self._reader.opening_for(now) > OPENING_S:
            raise EngineHung(f"The engine was not open after {OPENING_S:g} s.")
        self._board.facts = self._facts()
        self._service.status(one_line(light(self._board.facts)))
        self._service.progress()

    def _reload(self) -> None:
        """Put the configuration to use as far as it can change now; one with mistakes changes nothing."""
        self._service.reloading()
        try:
            reload = compare(self._config, self._read_config())
        except ConfigError as error:
            for problem in error.problems:
                logs.event("configuration_refused", logging.ERROR, why=problem)
            self._reloaded = Reloaded(utc_now(), len(error.problems), (), {})
            self._journal.note_audit("configuration_refused", mistakes=len(error.problems))
        else:
            self._note_configuration(reload.config)
            self._use(reload.config)
            self._reloaded = Reloaded(utc_now(), 0, reload.applied, dict(reload.refused))
            logs.event("configuration_reloaded", applied=reload.applied)
            for setting, why in reload.refused.items():
                logs.event("setting_waits_for_a_start", logging.WARNING, setting=setting, why=why)
        self._service.reloaded()

    def _note_configuration(self, new: Config) -> None:
        before, now = (_as_json(one.model_dump(mode="json")) for one in (self._config, new))
        if now != before:
            self._journal.note_audit("configuration_changed", changed=difference(before, now))
            self._journal.set_meta("configuration", now)

    def _use(self, config: Config) -> None:
        """All that can change while it runs; a reading that has begun goes on by its rules."""
        self._config = config
        logs.use_level(config.log_level)
        polling = folder.is_polled(config.export_folder, config.polling)
        self._watch.use_hints(not polling)
        self._watch.rescan_every(config.rescan_s)
        self._desk.tries = self._keeper.tries = config.tries
        self._reader.check_every(config.known_answer_interval_s)
        self._recorder.retry_after_s = config.retry_after_s
        self._rules = self._keeper.rules = rules_of(config, self._model.spec)
        self._keeper.keep_pace(config.pace(polling=polling))
        self._keeper.memory_budget = config.memory_budget_mb * 2**20
        self._keeper.show = partial(shown, label=config.label)
        self._journal.narrow_labels(config.label)
        self._keeper.relabel()
        self._previews.keep_days = config.keep_images_days
        self._lamp.use(config.lamp)

    def _handle(self, message: Message) -> None:
        match message:
            case FilesSeen() | OddSeen() | SentinelSeen() | Scanned():
                self._watch_told(message)
            case Parsed():
                self._file_parsed(self._desk.parsed(message))
            case ReadingFinished():
                self._keeper.reading_finished(message)
            case DeliveriesOpen():
                self._deliveries = message
            case EngineNotOpened() | EngineReady() | AnswersChecked():
                self._engine_told(message)
            case Retry():
                self._retry(message)
            case MarkStudy(study, action, name, upto):
                self._marked(message, action, self._journal.mark(study, action, name, upto))
            case MarkFiles(name, upto):
                self._marked(message, Mark.SEEN, self._journal.mark_files(name, upto))
            case ThreadDied(error=DeviceLost() as error):
                logs.event("device_lost", logging.ERROR, why=str(error))
                raise error
            case ThreadDied():
                logs.crash("thread_died", message.error, thread=message.name)
                raise message.error

    def _engine_told(self, message: EngineNotOpened | EngineReady | AnswersChecked) -> None:
        match message:
            case EngineNotOpened(why):
                self._engine_why = why
            case EngineReady(engine):
                identity = engine.identity
                self._model = self._keeper.model = replace(self._model, engine=identity)
                self._engine_why = identity.why
                logs.event("engine_ready", runner=identity.runner, device=identity.device, why=identity.why)
            case AnswersChecked():
                self._answers = message
                logs.event("known_answers", ok=message.wrong is None)
                if message.wrong is None:
                    self._keeper.confirm(utc_now())
                else:
                    self._keeper.doubt()

    def _retry(self, asked: Retry) -> None:
        again = self._journal.try_again(asked.subjects, utc_now(), asked_by=asked.name)
        logs.event("retry_asked", series=again)
        asked.done.set_result(again)

    def _marked(self, asked: MarkStudy | MarkFiles, action: Mark, changed: int) -> None:
        logs.event("marked", action=action, findings=changed)
        self._recount()
        asked.done.set_result(changed)

    def _watch_told(self, message: FilesSeen | OddSeen | SentinelSeen | Scanned) -> None:
        match message:
            case FilesSeen():
                self._recorder.note_backlog(self._desk.seen(message))
            case OddSeen():
                self._keeper.odd_seen(message)
            case SentinelSeen(path, at):
                self._keeper.sentinel_seen(path, at)
            case Scanned():
                self._folder_scanned(message)

    def _file_parsed(self, became: Became | None) -> None:
        match became:
            case SliceTaken():
                self._watch.found()
                self._keeper.take(became)
            case FilePassed(arrival):
                self._watch.passed(arrival)
                self._keeper.file_settled(arrival.path)
                self._recorder.note_file(arrival, OTHER)
            case FileLeft(arrival):
                self._recorder.note_file(arrival, "before_installation")
            case FileGone(arrival):
                self._watch.forget(arrival.path)
                self._keeper.file_gone(arrival)
            case FileLost(reason):
                self._recorder.count("worker_restarts", reason.removeprefix("worker_"))

    def _folder_scanned(self, scanned: Scanned) -> None:
        if scanned.down is not None and (self._scanned is None or self._scanned.down is None):
            logs.event("export_folder_down", logging.ERROR, code=scanned.down.code)
        self._scanned = scanned
        for why in scanned.hints_lost:
            self._recorder.count("watch_hints_lost", why)
        if scanned.down is not None:
            return
        self._keeper.looked(scanned.began, scanned.at)
        if scanned.mount != self._mount:
            self._mount = scanned.mount
            polling = folder.is_polled(self._config.export_folder, self._config.polling)
            self._watch.use_hints(not polling)
            self._keeper.keep_pace(self._config.pace(polling=polling))
        if not scanned.bare:
            self._note_folder(scanned.mount)
        if scanned.unknown is not None:
            self._recorder.flush()
            self._unaccounted = self._keeper.unaccounted(scanned.unknown)

    def _note_folder(self, mount: str) -> None:
        """From the first file on, the export folder must stay on its mount, and what is found is new."""
        if self._journal.meta("export_mount") != mount:
            self._journal.set_meta("export_mount", mount)
        if self._journal.meta("first_scan_at") is None:
            self._journal.set_meta("first_scan_at", utc_now())
            reach("first_scan.noted")

    def _series_ended(self) -> None:
        """The light changes before the result is delivered."""
        self._recount()
        self._courier.wake()

    def _recount(self) -> None:
        self._counts = self._journal_reader.counts()
        self._board.facts = self._facts()

    def _housekeep(self) -> None:
        self._recorder.flush()
        self._keeper.housekeep()
        self._note_acceptance()
        self._audit.follow(self._journal)
        scanned = self._scanned
        looked = (
            scanned is not None and scanned.down is None and not scanned.unreadable and not len(self._desk)
        )
        if looked and not self._recovered:
            self._recovered = True
            self._keeper.end_vanished(self._journal_reader.not_ended())
        if self._recovered and len(self._desk) < BACKLOG_AT_ONCE:
            for arrival in self._journal.backlog(BACKLOG_AT_ONCE):
                if not self._desk.holds(arrival.path):
                    self._desk.read_header(arrival)

    def _facts(self) -> Facts:
        now, wall = time.monotonic(), time.time()
        scanned, answers, counts, spec = self._scanned, self._answers, self._counts, self._model.spec
        pending = [since for since in (self._keeper.oldest(), self._desk.oldest()) if since is not None]
        down = scanned.down if scanned else None
        hangs = self._watch.unanswered_s(now) > 3 * self._config.rescan_s
        failing = {
            "state_disk": self._disk.failing,
            "results_folder": self._deliveries.failing or self._courier.busy_for(now) > DELIVERY_S,
            "engine_not_opened": self._model.engine is None and self._engine_why != "",
            "known_answers_late": answers is None and now - self._began > FIRST_ANSWERS_S,
            "export_folder_hangs": hangs,
            "export_folder_unmounted": down is not None and down.code == "export_folder_unmounted",
            "folder_unreadable": scanned is not None and bool(scanned.unreadable),
        }
        return Facts(
            heartbeat=now,
            published_at=utc_now(),
            started_at=self._started_at,
            folder_up=down is None and not hangs,
            rescan_age_s=None if scanned is None else now - scanned.at,
            rescan_limit_s=3 * self._config.rescan_s + (scanned.next_s + scanned.took_s if scanned else 0.0),
            rescan_at=None if scanned is None else wall - (now - scanned.at),
            known_answer_ok=None if answers is None else answers.wrong is None,
            known_answer_age_s=None if answers is None else now - answers.at,
            known_answer_limit_s=2 * self._config.known_answer_interval_s,
            known_answer_at=None if answers is None else wall - (now - answers.at),
            model=ModelFacts(
                name=spec.name,
                version=spec.version,
                digest=self._model.digest,
                intended_use=spec.intended_use,
                notice=spec.notice,
                operating_point=self._rules.operating_point,
                engine=self._model.engine,
                engine_why=self._engine_why,
            ),
            not_accepted=self._acceptance.why_not(self._subject()),
            faults=tuple(sorted(code for code, present in failing.items() if present)),
            suspect=counts.suspect,
            not_analysed=counts.not_analysed,
            failed=counts.failed,
            newest_alarm=counts.newest_alarm,
            oldest_alarm_s=_age_s(counts.oldest_alarm_at, wall),
            lamp=self._lamp.state,
            reloaded=self._reloaded,
            closed_folders=tuple(printable(str(path)) for path in (scanned.unreadable if scanned else ())),
            in_progress=self._keeper.in_progress(self._reader.at_job),
            queue_depth=self._keeper.queue_depth(),
            oldest_pending_s=now - min(pending) if pending else 0.0,
            delivery_oldest_s={
                destination: _age_s(since, wall) for destination, since in self._deliveries.oldest.items()
            },
            disk_free_bytes=self._disk_free(),
            conservation_error=abs(counts.series - counts.ended - counts.in_flight) + self._unaccounted,
            gpus=self._gpus.told(now),
        )

    def _subject(self) -> Subject | None:
        """What an acceptance must be of; None until the engine is open."""
        model = self._model
        if model.engine is None:
            return None
        return Subject.of(model.digest, self._file.bundle_digest, model.engine, VERSION)

    def _disk_free(self) -> dict[str, int]:
        free = {}
        with contextlib.suppress(OSError):
            status = os.statvfs(self._state.path)
            free["state"] = status.f_bavail * status.f_frsize
        if self._scanned is not None and self._scanned.free_bytes is not None:
            free["export"] = self._scanned.free_bytes
        return free


def _age_s(since: str | None, now: float) -> float:
    return 0.0 if since is None else max(0.0, now - datetime.fromisoformat(since).timestamp())


def _is_lost(journal: Path) -> bool:
    try:
        return is_blank(journal)
    except sqlite3.Error:
        return False  # whoever opens it says what is wrong with it


def _left_behind(config: Config, state: StateFolder) -> Path | None:
    """What only an installation with a journal leaves, although somebody may fetch and remove results."""
    if state.audit.exists() and state.audit.stat().st_size:
        return state.audit
    results, objects = config.results.glob("[!.]*.r[0-9]*.json"), state.objects.glob("[!.]*.json")
    return next(itertools.chain(results, objects), None)


def _as_json(settings: dict[str, Any]) -> str:
    """A configuration as the journal and the audit log have it."""
    lamp = settings.get("lamp")
    if lamp is not None:
        lamp = {**lamp, "command": without_secrets(lamp["command"])}
    return json.dumps({**settings, "lamp": lamp}, sort_keys=True)

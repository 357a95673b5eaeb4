"""One acceptance test, from a configuration to a report."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from appliance.acceptance import Subject
from appliance.clock import utc_now
from appliance.config import Config
from appliance.imaging.isolation import SlicePool
from appliance.reading import Rules, WrongModel, rules_of
from appliance.state_folder import StateFolder
from engines.bundle import BundleError, ModelFile, default_model, load_model
from engines.protocol import DeviceLost, Engine, EngineError
from engines.runner import open_engine
from tools.doctor.arrival import arrival
from tools.doctor.cases import LabelledCases, cases, check_labels
from tools.doctor.check import Check, Group, failed
from tools.doctor.export_folder import export_folder
from tools.doctor.machine import machine
from tools.doctor.model import hashes, known_answers
from tools.doctor.parity import parity
from tools.doctor.report import About, Report
from tools.doctor.service import ports, sandbox, user
from tools.doctor.speed import MINUTE_S, run, speed
from tools.doctor.state_disk import state_disk, workplace

PHANTOMS: Final = 20
ARRIVALS: Final = 10

Progress = Callable[[str], None]
"""Told what is going on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done: phantoms, seconds of throughput, exports to a daemon, the site's own cases."""

    phantoms: int = PHANTOMS
    seconds: float = MINUTE_S
    arrivals: int = ARRIVALS
    cases: LabelledCases | None = None


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is tested, once it is open."""

    model: ModelFile
    engine: Engine
    rules: Rules

    @property
    def about(self) -> About:
        spec = self.model.spec
        return About(
            machine=platform.node(),
            model=f"{spec.name} {spec.version}",
            intended_use=spec.intended_use,
            operating_point=self.rules.operating_point,
        )

    @property
    def subject(self) -> Subject:
        digest, bundle = self.model.digest, self.model.bundle_digest
        return Subject.of(digest, bundle, self.engine.identity, version("scanlight"))


def examine(config: Config, plan: Plan, progress: Progress) -> Report:
    """Everything beside a daemon that may run: in folders, with a process and a port of its own.

    Raises WrongInput where the site's cases are not as they should be.
    """
    if plan.cases is not None:
        check_labels(plan.cases)
    around = [
        _group("Folders", _folders(config), progress),
        _group("Service", _service(config), progress),
    ]
    with workplace(config) as place:
        opened = _open(config, place)
        if isinstance(opened, Group):
            return Report(made_at=utc_now(), about=None, subject=None, groups=(opened, *around))
        try:
            about, subject = opened.about, opened.subject
            tested = list(_tested(config, plan, opened, progress))
        finally:
            opened.engine.close()
        tested.append(
            _group("From the scanner to the flag", _arrival(config, plan, place, progress), progress)
        )
    return Report(made_at=utc_now(), about=about, subject=subject, groups=(*tested, *around))


def _open(config: Config, place: Path) -> _Opened | Group:
    """The model with its engine; the group that says why not."""
    name, limit = "Model", "it opens"
    try:
        model = load_model(config.model or default_model())
        rules = rules_of(config, model.spec)
    except (BundleError, WrongModel) as error:
        return Group(name, (failed("Hashes of the model", str(error), limit, "copy or build it again"),))
    try:
        return _Opened(model, open_engine(model, config.engine, cache=place), rules)
    except (DeviceLost, EngineError) as error:
        remedy = "do what the sentence says, or set engine: auto"
        return Group(name, (failed("Engine", str(error), limit, remedy),))


def _tested(config: Config, plan: Plan, opened: _Opened, progress: Progress) -> Iterator[Group]:
    model, engine = opened.model, opened.engine
    yield _group("Machine", machine(config, model, engine), progress)
    yield _group("Model", _model(config, plan, opened, progress), progress)
    yield _group(
        "Our own cases",
        cases(
            plan.cases,
            engine,
            opened.rules,
            lambda what, done, total: progress(f"Own cases: {what.lower()}, {done} of {total}"),
        ),
        progress,
    )
    yield _group("Speed", _speed(plan, engine, progress), progress)


def _model(config: Config, plan: Plan, opened: _Opened, progress: Progress) -> Iterator[Check]:
    model, engine = opened.model, opened.engine
    yield from hashes(model)
    pool = SlicePool(config.workers, config.worker_memory_mb, config.worker_timeout_s)
    try:
        yield known_answers(model, engine, StateFolder(config.state_folder).known_answers, pool)
    finally:
        pool.close()
    yield parity(
        engine,
        lambda: open_engine(model, "cpu"),
        plan.phantoms,
        opened.rules.operating_point,
        lambda what, done, total: progress(f"FP16: {what}, {done} of {total}"),
    )


def _speed(plan: Plan, engine: Engine, progress: Progress) -> Iterator[Check]:
    yield from speed(
        run(engine, plan.seconds, lambda share: progress(f"Throughput: {share * plan.seconds:.0f} s"))
    )


def _arrival(config: Config, plan: Plan, place: Path, progress: Progress) -> Iterator[Check]:
    own = place / "daemon"
    own.mkdir()
    yield arrival(config, own, plan.arrivals, progress)


def _folders(config: Config) -> Iterator[Check]:
    yield from export_folder(config)
    yield from state_disk(config)


def _service(config: Config) -> Iterator[Check]:
    yield user(config)
    yield from ports(config)
    yield sandbox()


def _group(title: str, checks: Iterable[Check], progress: Progress) -> Group:
    """The checks one after the other; an engine that fails in the middle fails the rest of them."""
    progress(title)
    found: list[Check] = []
    try:
        found.extend(checks)
    except (EngineError, DeviceLost) as error:
        found.append(
            failed(
                title,
                str(error),
                "the engine works",
                "have the device and its driver looked at, and see the log",
            )
        )
    return Group(title, tuple(found))

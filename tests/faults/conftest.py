"""What fault tests share: how often to kill, and whom the scanner scans."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from exams import Patients, Scanner, read_offline, routine
from trial import SideBySide
from witness import Told

KILLS = 30
SEED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--kills", type=int, default=KILLS, help=f"kills at random times (default {KILLS})")
    group.addoption("--soak", type=int, help="studies that the soak exports")
    group.addoption("--seed", type=int, help="repeat the random times of another run")


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config) -> int:
    # Where pytest did not start here, it does not know of these options.
    return int(pytestconfig.getoption("--kills", KILLS))


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    given = pytestconfig.getoption("--seed", None)
    chosen = random.randrange(10**6) if given is None else int(given)
    pytestconfig.stash[SEED] = chosen
    return chosen


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if SEED in config.stash:
        terminalreporter.write_line(f"killed at random times: --seed {config.stash[SEED]}")


@pytest.fixture(scope="module")
def side_by_side(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SideBySide]:
    """Runs the trials at all points that a module's tests ask for, two at a time: they mostly start daemons.

    A test calls it with its point and the trial, and waits for the end of its own.
    """
    points: list[str] = []
    for test in request.session.items:
        if isinstance(test, pytest.Function) and test.module is request.module and hasattr(test, "callspec"):
            points += [str(value) for name, value in test.callspec.params.items() if name == "point"]
    running: dict[str, Future[None]] = {}
    with ThreadPoolExecutor(2) as pool:

        def wait_for(point: str, trial: Callable[[str, Path], None]) -> None:
            if not running:
                for one in points:
                    running[one] = pool.submit(trial, one, tmp_path_factory.mktemp(one))
            running[point].result()

        yield wait_for
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Patients:
    return Patients.make(tmp_path_factory.mktemp("patients"))


@pytest.fixture(scope="session")
def routine_told(tmp_path_factory: pytest.TempPathFactory, patients: Patients) -> dict[str, Told]:
    """What `scanlight read` says of the routine's files."""
    folder = tmp_path_factory.mktemp("routine")
    routine(Scanner(folder, patients))
    return read_offline(folder)

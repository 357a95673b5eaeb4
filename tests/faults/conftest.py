"""What fault tests share: how often to kill, and whom the scanner scans."""

from __future__ import annotations

import random

import pytest
from exams import Patients, Scanner, read_offline, routine
from witness import Told

pytest.register_assert_rewrite("trial")

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


@pytest.fixture(scope="session")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Patients:
    return Patients.make(tmp_path_factory.mktemp("patients"))


@pytest.fixture(scope="session")
def routine_told(tmp_path_factory: pytest.TempPathFactory, patients: Patients) -> dict[str, Told]:
    """What `scanlight read` says of the routine's files."""
    folder = tmp_path_factory.mktemp("routine")
    routine(Scanner(folder, patients))
    return read_offline(folder)

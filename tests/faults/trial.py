"""An appliance that dies again and again while a scanner exports, and what must be true in the end."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from exams import Patients, Scanner, routine
from harness import Appliance
from powerloss import Machine
from witness import Told, Witness, chains, latest, lost_objects, remains

from appliance.faults import VARIABLE

SideBySide = Callable[[str, Callable[[str, Path], None]], None]
"""The fixture of this name."""

DIES_S = 60.0
SETTLES_S = 120.0


class Trial:
    """A folder with an appliance, a scanner and a witness; one life of the daemon at a time."""

    def __init__(
        self, folder: Path, patients: Patients, machine: Machine | None = None, *, patience_s: float = DIES_S
    ) -> None:
        """`patience_s`: how long the scanner waits for a finding before it goes on."""
        self.appliance = Appliance(
            folder,
            completeness={"floor_s": 0.3, "ceiling_s": 1.0},
            rescan_s=0.5,
            workers=1,
        )
        self.witness = Witness(self.appliance.results)
        self.scanner = Scanner(self.appliance.export_folder, patients, self.witness, patience_s)
        self._machine = machine

    def __enter__(self) -> Trial:
        self.witness.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.witness.stop()

    @contextlib.contextmanager
    def life(self, env: Mapping[str, str] | None = None) -> Iterator[Appliance]:
        """The daemon runs; in the end it is killed, if it is not dead yet, and the power may go."""
        power = (
            self._machine.life(self.appliance.state, self.witness)
            if self._machine
            else contextlib.nullcontext({})
        )
        with power as more, self.appliance.launched({**more, **(env or {})}):
            yield self.appliance

    def killed_at(self, point: str, number: int) -> None:
        """A life that ends when it reaches a point."""
        with self.life({VARIABLE: f"{point}:kill:{number}"}) as appliance:
            assert appliance.process is not None
            assert appliance.process.wait(DIES_S) == -signal.SIGKILL, appliance.log.read_text()[-3000:]

    def killed_at_any_time(self, chance: random.Random) -> None:
        """A life that ends while the daemon starts, or some time after."""
        with self.life() as appliance:
            if chance.random() < 0.5:
                appliance.wait_until_ready()
            time.sleep(chance.uniform(0, 1.5))

    def judge(self, expected: Mapping[str, Told]) -> None:
        """The last life: each series has one current finding, as expected, and nothing else is wrong."""
        with self.appliance as appliance:
            with contextlib.suppress(AssertionError):
                appliance.wait("all is told", lambda: self.told() == expected, SETTLES_S)
            told = self.told()
            different = {
                name: (told.get(name), expected.get(name))
                for name in told.keys() | expected.keys()
                if told.get(name) != expected.get(name)
            }
            assert not different, different
            appliance.wait("nothing is in flight", lambda: not appliance.status()["in_progress"])
            assert appliance.stop() == 0
        wrong = self.wrong()
        assert not wrong, wrong

    def told(self) -> dict[str, Told]:
        return latest(self.witness.findings().values())

    def wrong(self) -> list[str]:
        """What is wrong whatever was exported."""
        return [
            *self.witness.wrong(),
            *chains(self.witness.findings()),
            *lost_objects(self.witness.findings(), self.appliance.state / "objects"),
            *remains(self.appliance.state),
        ]


OFTEN = {"file": (1, 4), "journal": (1, 6), "finding": (1, 2), "delivery": (1, 2)}
"""What is reached again and again, and the times at which the process is killed there."""


def try_at(point: str, trial: Trial, expected: Mapping[str, Told]) -> None:
    """The routine, while the daemon dies at a point."""
    trial.scanner.old(9)
    with trial, meanwhile(partial(routine, trial.scanner)):
        for number in OFTEN.get(point.partition(".")[0], (1,)):
            trial.killed_at(point, number)
        trial.judge(expected)


@contextlib.contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Something goes on beside, and ends, before this does."""
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(work)
        yield
        done.result()

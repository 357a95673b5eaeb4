"""The watch with real files, real inotify and real faults.

With a look every ten minutes only hints can tell of a file; without hints, only looks can.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from file_systems import bound, inotify_descriptors

from appliance.intake import census, watch
from appliance.intake.census import Census
from appliance.intake.completeness import Sentinel
from appliance.intake.folder import arrival, listing
from appliance.intake.watch import FilesSeen, OddSeen, Scanned, SentinelSeen, Watch
from appliance.journal import Journal, KnownFile
from appliance.records import Arrival, FileIdentity

NEVER_S = 600.0
OFTEN_S = 0.1
PATIENCE_S = 20.0


class Looking:
    """A running watch and what it told; `held` keeps it inside the telling."""

    def __init__(
        self,
        root: Path,
        *,
        rescan_s: float,
        hints: bool,
        sentinel: Sentinel | None,
        known: Iterable[tuple[str, FileIdentity, int]],
    ) -> None:
        self.told: list[FilesSeen | OddSeen | SentinelSeen | Scanned] = []
        self.held = threading.Event()
        self.held.set()
        self.watch = Watch(
            root,
            self._post,
            known=known,
            mount=None,
            bare=True,
            rescan_s=rescan_s,
            hints=hints,
            sentinel=sentinel,
            not_on_record=lambda paths: (),
        )

    def _post(self, message: FilesSeen | OddSeen | SentinelSeen | Scanned) -> None:
        self.told.append(message)
        self.held.wait()

    def paths(self) -> list[Path]:
        seen = [message for message in list(self.told) if isinstance(message, FilesSeen)]
        return [one.path for message in seen for one in message.arrivals]

    def scans(self) -> list[Scanned]:
        return [message for message in list(self.told) if isinstance(message, Scanned)]

    def lost(self) -> list[str]:
        return [why for scanned in self.scans() for why in scanned.hints_lost]

    def wait(self, what: str, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, f"not in {PATIENCE_S:g} s: {what}"
            time.sleep(0.01)

    def wait_for(self, *paths: Path) -> None:
        self.wait(f"{len(paths)} files are told of", lambda: set(paths) <= set(self.paths()))

    def wait_for_a_look(self) -> None:
        before = len(self.scans())
        self.wait("a look ended", lambda: len(self.scans()) > before + 1)


@contextmanager
def looking(
    root: Path,
    *,
    rescan_s: float = NEVER_S,
    hints: bool = True,
    sentinel: Sentinel | None = None,
    known: Iterable[tuple[str, FileIdentity, int]] = (),
) -> Iterator[Looking]:
    one = Looking(root, rescan_s=rescan_s, hints=hints, sentinel=sentinel, known=known)
    one.watch.start()
    try:
        one.wait("the first look ended", one.scans)
        yield one
    finally:
        one.held.set()
        one.watch.stop()
        one.watch.join(PATIENCE_S)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "export"
    root.mkdir()
    return root


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# What hints tell


def test_a_file_is_told_of_by_hints_once_until_it_changes(root: Path) -> None:
    with looking(root) as one:
        path = write(root / "a")
        one.wait_for(path)
        os.utime(path)
        last = write(root / "b")
        one.wait_for(last)
        assert one.paths() == [path, last]
        write(path, "longer")
        one.wait("the change is told", lambda: one.paths() == [path, last, path])


def test_files_of_folders_made_or_moved_into_the_tree_are_told_of_at_once(root: Path, tmp_path: Path) -> None:
    moved = [write(tmp_path / "study" / name).relative_to(tmp_path) for name in ("a", "b/c", "b/d/e")]
    with looking(root) as one:
        made = [write(root / "made" / "deep" / "deeper" / name) for name in ("a", "b")]
        (tmp_path / "study").rename(root / "study")
        one.wait_for(*made, *(root / path for path in moved))
        late = write(root / "study" / "b" / "d" / "late")
        one.wait_for(late)


def test_a_folder_renamed_in_the_tree_is_followed_under_its_new_name(root: Path) -> None:
    with looking(root) as one:
        one.wait_for(write(root / "before" / "a"))
        (root / "before").rename(root / "after")
        one.wait_for(root / "after" / "a")
        late = write(root / "after" / "late")
        one.wait_for(late)
        assert root / "before" / "late" not in one.paths()


def test_names_of_any_bytes_and_hard_links_are_told_of(root: Path) -> None:
    there = [write(root / "line\nbreak"), write(root / os.fsdecode(b"\xff\xfe") / "a")]
    with looking(root) as one:
        late = [write(root / "line\nbreak 2"), write(root / os.fsdecode(b"\xff\xfe") / os.fsdecode(b"\xe4"))]
        (root / "link").hardlink_to(there[0])
        one.wait_for(*there, *late, root / "link")


def test_a_sentinel_comes_after_the_files_that_were_there_before_it(root: Path) -> None:
    with looking(root, sentinel=Sentinel("*.done", "folder")) as one:
        files = [write(root / "study" / f"{number:03d}") for number in range(50)]
        done = write(root / "study" / "study.done")
        one.wait("the sentinel is told of", lambda: SentinelSeen in map(type, one.told))
        before = one.told[: [type(message) for message in one.told].index(SentinelSeen)]
        seen = [
            arrival.path
            for message in before
            if isinstance(message, FilesSeen)
            for arrival in message.arrivals
        ]
        assert sorted(seen) == files
        assert done not in one.paths()


# What becomes of hints that are missing


def test_files_whose_hints_overflowed_the_queue_are_told_of_by_a_look_at_once(root: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip("needs fs.inotify.max_queued_events of at most 100000: sysctl")
    for number in range(7):
        (root / f"{number}").mkdir()
    with looking(root) as one:
        one.held.clear()
        write(root / "first")
        one.wait_for(root / "first")
        # Each makes two hints, created and closed, while nobody listens.
        files = [write(root / f"{number % 7}" / f"{number}") for number in range(limit // 2 + 100)]
        one.held.set()
        one.wait_for(*files)
        one.wait("the loss is told of", lambda: "overflow" in one.lost())
        one.wait_for(write(root / "3" / "late"))


def test_a_descriptor_that_breaks_is_noticed_and_replaced(root: Path) -> None:
    with looking(root) as one:
        (number,) = inotify_descriptors(os.getpid())
        os.close(number)
        one.wait_for(write(root / "a"))
        one.wait("the loss is told of", lambda: one.lost() == ["broken"])
        one.wait_for(write(root / "b"))
        assert len(inotify_descriptors(os.getpid())) == 1


LIMITED = """
import sys, time
from pathlib import Path
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests"]
from intake.test_watch import looking, write
root = Path(sys.argv[2])
with looking(root, rescan_s=float(sys.argv[3])) as one:
    one.wait_for_a_look() if float(sys.argv[3]) < 1 else None
    one.wait_for(write(root / "new" / "a"))
    one.wait_for(write(root / "new" / "b"))
    one.wait("the loss is told of", one.lost)
print(*one.lost())
"""


def limited(root: Path, rescan_s: float, **limits: int) -> str:
    """What a watch told that runs with limits of its own, in a namespace of users."""
    if subprocess.run(["unshare", "-U", "-r", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs user namespaces: sysctl user.max_user_namespaces")
    set_limits = " && ".join(f"echo {number} > /proc/sys/user/{name}" for name, number in limits.items())
    project = str(Path(__file__).parents[2])
    command = ["unshare", "-U", "-r", "sh", "-c", f'{set_limits} && exec "$@"', "sh"]
    done = subprocess.run(
        [*command, sys.executable, "-c", LIMITED, project, str(root), str(rescan_s)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_where_watches_are_limited_the_newest_folders_have_them(root: Path) -> None:
    for number in range(10):
        write(root / f"{number}" / "old")
    assert limited(root, NEVER_S, max_inotify_watches=5) == "limit"


def test_where_no_inotify_is_to_be_had_looks_tell_of_files_and_it_is_said_once(root: Path) -> None:
    assert limited(root, OFTEN_S, max_inotify_instances=0) == "limit"


# What looks tell


def test_looks_alone_tell_of_new_and_changed_files_and_forget_folders_that_went(
    root: Path, tmp_path: Path
) -> None:
    with looking(root, rescan_s=OFTEN_S, hints=False) as one:
        path = write(root / "study" / "a")
        one.wait_for(path)
        write(path, "longer")
        one.wait("the change is told", lambda: one.paths() == [path] * 2)
        path.parent.rename(tmp_path / "aside")
        one.wait_for_a_look()
        one.wait_for_a_look()
        (tmp_path / "aside").rename(path.parent)
        one.wait("it is told of again", lambda: one.paths() == [path] * 3)


def test_a_file_that_could_not_be_found_is_told_of_again(root: Path) -> None:
    with looking(root, rescan_s=OFTEN_S) as one:
        path = write(root / "study" / "a")
        one.wait_for(path)
        one.wait_for_a_look()
        assert one.paths() == [path]
        one.watch.forget(path)
        one.wait("it is told of again", lambda: one.paths() == [path] * 2)


def test_quiet_folders_of_a_large_tree_are_listed_when_they_change_and_now_and_then(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "REST", 1e6)
    monkeypatch.setattr(census, "LIVELY_S", -1.0)
    quiet = write(root / "quiet" / "a")
    with looking(root, rescan_s=OFTEN_S, hints=False) as one:
        monkeypatch.setattr(watch, "REST", 0.0)
        write(quiet, "longer")
        new = [write(root / "quiet" / "b"), write(root / "quiet" / "deep" / "c")]
        one.wait_for(*new)
        assert one.paths().count(quiet) == 2, "its folder was listed, since it changed"
        write(quiet, "longer still")
        for _ in range(3):
            one.wait_for_a_look()
        assert one.paths().count(quiet) == 2
        one.watch._next_thorough = 0.0
        one.wait("a look at every file tells", lambda: one.paths().count(quiet) == 3)


def test_a_tree_deeper_than_any_recursion_is_looked_at(root: Path) -> None:
    depth = 1500
    handle = os.open(root, os.O_PATH)
    for _ in range(depth):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_PATH, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(os.open("x", os.O_CREAT, dir_fd=handle))
    os.close(handle)
    try:
        with looking(root, rescan_s=OFTEN_S, hints=False) as one:
            assert [path.name for path in one.paths()] == ["x"]
            assert one.scans()[0].unreadable == ()
    finally:
        subprocess.run(["rm", "-r", root], check=True)


def test_fifty_thousand_files_in_one_folder_are_each_told_of_once(root: Path) -> None:
    original = write(root / "0")
    links = [f"{number}" for number in range(1, 50_000)]
    for name in links:
        os.link(original, root / name)
    with looking(root) as one:
        assert len(one.paths()) == 50_000
        late = [write(root / f"late {number}") for number in range(20)]
        one.wait_for(*late)
        assert len(one.paths()) == 50_020


# Another folder than before


def test_a_folder_put_in_the_place_of_the_export_folder_is_followed_at_once(root: Path) -> None:
    write(root / "a" / "1")
    with looking(root) as one:
        old = root.rename(root.with_name("old"))
        one.wait_for(write(root / "b" / "2"))
        one.wait_for(write(root / "b" / "late"))
        write(old / "a" / "stray")
        one.wait_for(write(root / "b" / "last"))
        assert root / "a" / "stray" not in one.paths()


def test_a_link_to_the_export_folder_that_is_switched_is_followed(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    write(root / "study" / "a")
    with looking(link, rescan_s=OFTEN_S) as one:
        other = tmp_path / "other"
        write(other / "study" / "b")
        (tmp_path / "next").symlink_to(other)
        (tmp_path / "next").rename(link)
        one.wait_for(link / "study" / "b")
        one.watch._rescan_s = NEVER_S
        one.wait_for(write(link / "study" / "late"))


def test_a_folder_mounted_inside_of_itself_is_told_of_once(root: Path) -> None:
    path = write(root / "study" / "a")
    (root / "loop").mkdir()
    with bound(root, root / "loop"), looking(root, rescan_s=OFTEN_S) as one:
        one.wait_for_a_look()
        assert one.paths() == [path]


def test_what_is_mounted_below_the_export_folder_must_stay_mounted(root: Path, tmp_path: Path) -> None:
    scanner = root / "scanner 1"
    scanner.mkdir()
    share = tmp_path / "share"
    path = write(share / "a")
    with looking(root, rescan_s=OFTEN_S) as one:
        with bound(share, scanner):
            one.wait_for(scanner / "a")
            one.watch.found()
            one.wait_for_a_look()
        one.wait("it is missed", lambda: one.scans()[-1].down)
        down = one.scans()[-1].down
        assert down is not None
        assert down.code == "export_folder_unmounted"
        assert str(scanner) in str(down)
        with bound(share, scanner):
            one.wait("it is back", lambda: not one.scans()[-1].down)
            one.wait_for(write(scanner / "late"))
    assert path.exists()


def test_as_long_as_nothing_was_found_a_share_mounted_over_it_is_looked_at_for_the_first_time(
    root: Path, tmp_path: Path
) -> None:
    share = tmp_path / "share"
    old = write(share / "old")
    with looking(root, rescan_s=OFTEN_S) as one:
        one.wait_for_a_look()
        assert one.scans()[-1].bare
        write(root / "README", "a share is to be mounted here")
        one.wait_for_a_look()
        with bound(share, root):
            one.wait_for(root / "old")
            one.watch.found()
            one.wait_for_a_look()
            assert not one.scans()[-1].bare
            one.wait_for(write(root / "new"))
        one.wait("it is missed", lambda: one.scans()[-1].down)
    lay_there = {
        arrival.path.name: message.lay_there
        for message in one.told
        if isinstance(message, FilesSeen)
        for arrival in message.arrivals
    }
    assert lay_there == {"README": False, "old": True, "new": False}
    (told,) = [message for message in one.told if isinstance(message, FilesSeen) and message.lay_there]
    assert told.arrivals[0].changed_ns == old.stat().st_ctime_ns


def test_from_the_first_find_on_another_mount_is_down_although_no_look_came_between(
    root: Path, tmp_path: Path
) -> None:
    share = tmp_path / "share"
    share.mkdir()
    with looking(root) as one:
        one.wait_for(write(root / "a"))
        one.watch.found()
        with bound(share, root):
            one.watch.look()
            one.wait("it is missed", lambda: one.scans()[-1].down)


def test_a_file_that_passed_is_told_of_again_when_it_was_filled_and_its_time_put_back(root: Path) -> None:
    path = write(root / "a", "0000")
    before = path.stat()
    for hints in (True, False):
        with looking(root, rescan_s=OFTEN_S, hints=hints) as one:
            one.wait_for(path)
            found = arrival(path)
            assert found is not None
            one.watch.passed(found)
            one.wait_for_a_look()
            assert one.paths() == [path]
            with path.open("r+") as file:
                file.write("1111")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            one.wait("it is told of again", lambda: one.paths() == [path, path])
            one.wait_for_a_look()
            assert one.paths() == [path, path]


@pytest.mark.parametrize("hints", [True, False])
def test_any_file_is_for_a_while_also_when_it_was_known_before(
    root: Path, hints: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(root / "a", "0000")
    known = [(str(path), FileIdentity.of(path.stat()), 0)]

    def fill(text: str) -> None:
        before = path.stat()
        with path.open("r+") as file:
            file.write(text)
            file.flush()
            os.utime(file.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))

    with looking(root, rescan_s=OFTEN_S, hints=hints, known=known) as one:
        one.wait_for_a_look()
        assert one.paths() == []
        for number, text in enumerate(("1111", "2222"), 1):
            fill(text)
            one.wait("it is told of again", lambda number=number: one.paths() == [path] * number)
            one.wait_for_a_look()
        assert one.paths() == [path] * 2
        monkeypatch.setattr(census, "LIVELY_S", 0.0)
        one.wait_for_a_look()
        one.wait_for_a_look()
        fill("3333")
        one.wait_for_a_look()
        one.wait_for_a_look()
        assert one.paths() == [path] * 2


def test_what_passed_is_told_of_again_over_a_restart(root: Path) -> None:
    path = write(root / "a", "0000")
    before = path.stat()
    kept = Census([(str(path), FileIdentity.of(before), before.st_ctime_ns)])
    assert kept.listed(root, listing(root), None, 0.0, 0.0) == []
    path.write_text("1111")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [one.path for one in kept.listed(root, listing(root), None, 0.0, 0.0)] == [path]
    assert kept.listed(root, listing(root), None, 0.0, 0.0) == []


# The census


def test_the_census_is_small_for_many_files() -> None:
    names = [f"1.2.840.113619.2.55.3.{number:08d}.dcm" for number in range(50_000)]
    known = ((f"/export/study-{n // 500}/{name}", FileIdentity(n, n, n), 0) for n, name in enumerate(names))
    tracemalloc.start()
    kept = Census(known)
    current, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept.noted(Arrival(Path("/export/study-0", names[0]), FileIdentity(0, 0, 0)), 0.0) is False
    assert current < 50_000 * (24 + len(names[0]) + 8)
    assert peak < 2 * current


def test_known_files_are_not_told_of_whatever_their_order(root: Path) -> None:
    paths = [write(root / name) for name in ("b/2", "b/1", "a", os.fsdecode(b"\xff"), "ä")]
    known = [(str(path), FileIdentity.of(path.stat()), 0) for path in paths]
    kept = Census([*known, (str(root / "b" / "gone"), known[0][1], 0)])
    for one in (root, root / "b"):
        assert kept.listed(one, listing(one), (1, 2, 3), 0.0, 0.0) == []
    write(paths[0], "longer")
    assert [one.path for one in kept.listed(root / "b", listing(root / "b"), (1, 2, 3), 0.0, 0.0)] == paths[
        :1
    ]


def test_a_time_in_the_far_future_and_an_inode_of_64_bits_can_be_kept(root: Path, tmp_path: Path) -> None:
    path = write(root / "a")
    os.utime(path, (13_569_465_600, 13_569_465_600))  # the year 2400
    status = path.stat()
    made = os.stat_result((status[0], (1 << 64) - 5, *status[2:10]), {"st_mtime_ns": status.st_mtime_ns})
    identities = [FileIdentity.of(status), FileIdentity.of(made)]
    assert [FileIdentity.unpack(one.pack()) for one in identities] == identities
    assert identities[0].mtime_ns > time.time_ns(), "the future is not the past"
    journal = Journal(tmp_path / "journal.db")
    journal.add_files([KnownFile(str(n), one, "other", None) for n, one in enumerate(identities)])
    assert [known.identity for known in journal.known_files()] == identities
    journal.close()


def test_a_look_that_is_asked_for_comes_before_its_time_and_once(root: Path) -> None:
    with looking(root, hints=False) as one:
        path = write(root / "a")
        before = time.monotonic()
        for _ in range(3):
            one.watch.look()
        one.wait_for(path)
        one.wait("the look ended", lambda: one.scans()[-1].began > before)
        looks = len(one.scans())
        time.sleep(0.3)
        assert len(one.scans()) == looks <= 4


def test_a_sentinel_that_lay_there_says_nothing_of_the_files_beside_it(root: Path) -> None:
    write(root / "study" / "first.done")
    file = write(root / "study" / "a.dcm")
    with looking(root, rescan_s=OFTEN_S, sentinel=Sentinel("*.done", "folder")) as one:
        one.wait_for(file)
        one.wait_for_a_look()
        assert SentinelSeen not in map(type, one.told)
        write(root / "study" / "second.done")
        one.wait("a new one is told of", lambda: SentinelSeen in map(type, one.told))


def test_hints_are_taken_up_and_given_up_with_the_file_system(root: Path) -> None:
    before = inotify_descriptors(os.getpid())
    with looking(root, rescan_s=OFTEN_S, hints=False) as one:
        one.watch.use_hints(True)
        one.wait("they are used", lambda: inotify_descriptors(os.getpid()) > before)
        one.watch.use_hints(False)
        one.wait("they are not", lambda: inotify_descriptors(os.getpid()) == before)
        one.wait_for(write(root / "a"))


def test_what_is_no_regular_file_is_told_of_once_and_again_when_it_is_another(root: Path) -> None:
    (root / "link.dcm").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    with looking(root, rescan_s=OFTEN_S) as one:
        one.wait_for_a_look()

        def odd() -> list[tuple[str, bool]]:
            told = [message for message in list(one.told) if isinstance(message, OddSeen)]
            return [(message.arrival.path.name, message.lay_there) for message in told]

        assert odd() == [("link.dcm", True), ("pipe", True)]
        (root / "link.dcm").unlink()
        one.wait_for_a_look()
        (root / "link.dcm").symlink_to("elsewhere")
        one.wait("it is told of again", lambda: odd()[2:] == [("link.dcm", False)])

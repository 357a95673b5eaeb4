import random
import re
import socket
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import pytest
from command import scanlight

from appliance.addresses import overlap, split
from appliance.config import EXAMPLE, ConfigError, load, parse, state_folder
from appliance.web.server import WebError, tcp

ROOT = Path(__file__).parent / "config" / "wrong"
WRONG = sorted(ROOT.glob("*.yaml"))
"""Each with the sentences that it is told, in its last lines."""

THREE_LINES = "export_folder: /srv/ct\nstate_folder: /var/lib/scanlight\nlisten: 127.0.0.1:8080\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        parse(text, "site.yaml")
    return raised.value.problems


def test_three_lines_are_enough() -> None:
    config = parse(THREE_LINES, "site.yaml")
    assert config.results == Path("/var/lib/scanlight/results")
    assert config.completeness.floor_s == 1.5
    assert config.workers >= 1


def test_the_example_is_valid_and_shows_every_setting_with_its_default() -> None:
    assert parse(EXAMPLE, "example").completeness == parse(THREE_LINES, "x").completeness
    active = "".join(line.removeprefix("# ") + "\n" for line in EXAMPLE.splitlines()[1:])
    full = parse(active, "example")
    for name in type(full).model_fields:
        assert f"{name}:" in EXAMPLE, name


@pytest.mark.parametrize("file", WRONG, ids=lambda file: file.stem)
def test_each_mistake_is_told_with_its_line_and_what_is_expected(file: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(file)
    expected = [line.removeprefix("#> ") for line in file.read_text().splitlines() if line.startswith("#> ")]
    assert expected
    assert [told.removeprefix(str(file)).lstrip(":, ") for told in raised.value.problems] == expected


def test_the_check_prints_them_all_and_no_secret() -> None:
    for name in (
        "many_at_once",
        "token_in_another_setting",
        "token_in_a_section",
        "token_in_the_file",
        "a_tag",
    ):
        file = ROOT / f"{name}.yaml"
        done = scanlight("config", "check", file)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == file.read_text().count("#> ")
        assert not re.search("correct|battery|9f8e7d", done.stderr)


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_bytes(b"export_folder: \xff\n")
    with pytest.raises(ConfigError, match="cannot be read: it is not UTF-8 text"):
        load(file)
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)
    assert problems("workers: 1\nlog_level: \x07") == [
        "site.yaml, line 2: not valid YAML: special characters are not allowed."
    ]
    assert problems("reasons: " + "{a: " * 2000) == ["site.yaml: not valid YAML: it is nested too deeply."]
    assert problems("workers: " + "9" * 5000) == [
        "site.yaml, line 1: not valid YAML: a value that looks like a number or a date is none: quote it."
    ]


def test_an_empty_file_is_told_what_to_hold() -> None:
    assert problems("") == ["site.yaml: expected settings such as export_folder: /data/export."]


def test_yaml_switches_keep_their_words() -> None:
    assert parse(THREE_LINES + "polling: off\n", "x").polling == "off"
    assert parse(THREE_LINES + "polling: on\n", "x").polling == "on"


def test_polling_waits_at_least_two_rescans() -> None:
    config = parse(THREE_LINES + "rescan_s: 20\n", "x")
    assert config.pace(polling=False).floor_s == 1.5
    pace = config.pace(polling=True)
    assert (pace.floor_s, pace.ceiling_s) == (40, 40)


def test_the_state_folder_is_known_whatever_else_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("state_folder: /var/lib/scanlight\nworkers: none\n")
    assert state_folder(file) == Path("/var/lib/scanlight")
    for broken in ("listen: [\n", "\tworkers: 1\n", "reasons: {a: *\n"):
        file.write_text(f"state_folder: /var/lib/scanlight  # on a local disk\n{broken}")
        assert state_folder(file) == Path("/var/lib/scanlight")
    for text in (
        "state_folder: here\n",
        "state_folder: 7\n",
        "- 1\n",
        "a: [\n",
        "",
        "state_folder: [\n",
        "a: [\n  state_folder: /inner\n",
        "state_folder: /one\nstate_folder: /other\na: [\n",
    ):
        file.write_text(text)
        with pytest.raises(ConfigError):
            state_folder(file)


@pytest.mark.parametrize("setting", ["state_folder", "results_folder"])
def test_no_link_leads_what_is_written_into_the_export_folder(setting: str, tmp_path: Path) -> None:
    export = tmp_path / "export"
    export.mkdir()
    (tmp_path / "link").symlink_to(export)
    (tmp_path / "loop").symlink_to("loop")
    folders = {
        "export_folder": export,
        "state_folder": tmp_path / "state",
        "results_folder": tmp_path / "loop" / "results",
    }
    parse("".join(f"{name}: {folder}\n" for name, folder in folders.items()), "site.yaml")
    inside = {**folders, setting: tmp_path / "link" / "inner" / "most"}
    turned = {**inside, "export_folder": tmp_path / "link", setting: export / "inner"}
    for wrong in (inside, turned):
        (problem,) = problems("".join(f"{name}: {folder}\n" for name, folder in wrong.items()))
        assert problem.endswith(f"{setting}: must not lie in export_folder, which is only ever read.")


def test_addresses_overlap_where_only_one_can_be_listened_on() -> None:
    hosts = ("127.0.0.1", "127.0.0.2", "0.0.0.0", "localhost", "[::1]", "[0::1]", "[::]")
    if not socket.has_ipv6:
        hosts = hosts[:4]
    for one, other in product(hosts, hosts):
        with ExitStack() as opened:
            first = opened.enter_context(tcp(*split(f"{one}:0")))
            port = first.getsockname()[1]
            try:
                opened.enter_context(tcp(*split(f"{other}:{port}")))
                taken = False
            except WebError:
                taken = True
        assert overlap(f"{one}:{port}", f"{other}:{port}") is taken, (one, other)
        assert not overlap(f"{one}:{port}", f"{other}:{port + 1}")
    assert not overlap("127.0.0.1:0", "0.0.0.0:0")


SCRAPS = (
    "*a",
    "&a ",
    "!x ",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "\n",
    "  ",
    "- ",
    "? ",
    "<<: ",
    "'",
    "|\n",
    "1e400",
    "~",
    "\t",
)
SCRAPS += (
    "!!set ",
    "!!int ",
    "!!float ",
    "!!bool ",
    "!!map ",
    "!!binary ",
    "2026-13-01",
    "0x",
    "1:30:00",
    "\x85",
)


def test_whatever_is_done_to_a_text_its_mistakes_are_told_in_sentences() -> None:
    chance = random.Random(1)
    texts = [file.read_text() for file in WRONG]
    told: list[str] = []
    for _ in range(3000):
        text = chance.choice(texts)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(text) + 1)
            text = text[:at] + chance.choice(SCRAPS) + text[at + chance.randint(0, 3) :]
        try:
            parse(text, "site.yaml")
        except ConfigError as error:
            told += error.problems
    assert len(told) > 3000
    assert all(problem.startswith("site.yaml") for problem in told)
    assert not any("another kind of value" in problem for problem in told)

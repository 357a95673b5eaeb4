from pathlib import Path

import pytest

from appliance.config import EXAMPLE, ConfigError, parse

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


def test_all_errors_come_at_once_with_their_lines() -> None:
    found = problems("export_foldr: /srv/ct\nstate_folder: here\nlisten: localhost\nworkers: many\n")
    assert found == [
        "site.yaml, export_folder: is missing and has no default.",
        "site.yaml, line 1: export_foldr: there is no such setting; did you mean export_folder?",
        "site.yaml, line 2: state_folder: must be an absolute path, found 'here'.",
        "site.yaml, line 3: listen: must be an address and a port, such as 127.0.0.1:8080,"
        " found 'localhost'.",
        "site.yaml, line 4: workers: should be a valid integer, found 'many'.",
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("completeness: {floor_s: 40}", "floor_s (40) must not be above ceiling_s (30)"),
        ("completeness: {flor_s: 1}", "did you mean floor_s?"),
        ("reasons: {missing_slice: skipped}", "missing_slice cannot be moved"),
        ("reasons: {gantry_tilt: failed}", "can be skipped or not_analysed, not failed"),
        ("reasons: {tilt: skipped}", "these can: contrast, gantry_tilt"),
        ("results_folder: /srv/ct/results", "results_folder must not lie in export_folder"),
        ("operating_point: {value: 0.3}", "operating_point.reason: is missing"),
        ("operating_point: {value: 1.3, reason: because}", "less than 1, found 1.3"),
        ("workers: 1\nworkers: 2", "workers is there twice"),
        ("tries: yes", "tries: should be a valid integer, found True"),
        ("reasons: {missing_slice: skipped, gantry_tilt: failed}", "not failed; missing_slice cannot"),
        ("? [a, b]\n: 1", "a setting's name must be a word"),
        ("log_level: \x07", "not valid YAML"),
        ("reasons: " + "{a: " * 2000, "not valid YAML"),
        ("listen: [", "not valid YAML"),
        ("- 1", "not valid YAML"),
        ("completeness: {sentinel: {glob: x, scope: room}}", "'folder' or 'study'"),
        ("known_answer_interval_s: 7200", "less than or equal to 3600"),
        ("rescan_s: .inf", "rescan_s"),
    ],
)
def test_each_error_says_what_is_expected(line: str, says: str) -> None:
    text = THREE_LINES + line if not line.startswith("listen") else THREE_LINES[:-23] + line
    assert says in "\n".join(problems(text))


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

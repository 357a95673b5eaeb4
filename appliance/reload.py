"""What a changed configuration changes while the daemon runs, and what waits for its next start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from appliance.config import Config

AT_THE_START: Final = MappingProxyType(
    {
        "export_folder": "the files on record are those of this folder",
        "state_folder": "the journal is open there",
        "results_folder": "results are on their way there",
        "listen": "the page is served there",
        "metrics_listen": "the metrics are served there",
        "tls": "the page is served with it",
        "access_token_file": "the page is served with it",
        "hosts": "the page is served with them",
        "proxy": "the page is served with it",
        "model": "the engine is opened with it",
        "engine": "the engine is opened with it",
        "workers": "they are started with the daemon",
        "worker_memory_mb": "the workers are started with it",
        "worker_timeout_s": "the workers are started with it",
        "completeness.sentinel": "files on record were told from sentinels by it",
        "backlog_h": "it counts at the very first start alone",
        "allow_demonstration": "what may leave this machine is decided at the start",
    }
)
"""What cannot change while the daemon runs, and why; everything else can."""

_Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reload:
    """`config` is what holds from now on; `applied` are the settings that it changes, `refused` those whose
    change waits for a start, each with the reason."""

    config: Config
    applied: tuple[str, ...]
    refused: Mapping[str, str]


def compare(old: Config, new: Config) -> Reload:
    """What becomes of a configuration in place of another one."""
    before, after = _values(old), _values(new)
    changed = [name for name in before if before[name] != after[name]]
    refused = {name: AT_THE_START[name] for name in changed if name in AT_THE_START}
    kept = {name: before[name] for name in AT_THE_START}
    return Reload(
        _config(after | kept),
        tuple(name for name in changed if name not in refused),
        MappingProxyType(refused),
    )


def _values(config: Config) -> _Values:
    """The settings by their names; those of completeness, which part in what can change, each by its own."""
    values = {name: getattr(config, name) for name in Config.model_fields}
    timing = values.pop("completeness")
    return values | {f"completeness.{name}": getattr(timing, name) for name in type(timing).model_fields}


def _config(values: _Values) -> Config:
    """Checks nothing: both configurations were valid, and what depends on each other changes together."""
    timing = {name.partition(".")[2]: value for name, value in values.items() if "." in name}
    whole = {name: value for name, value in values.items() if "." not in name}
    completeness = Config.model_fields["completeness"].default.model_copy(update=timing)
    return Config.model_construct(**whole, completeness=completeness)

"""A site that the acceptance test looks at."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Config
from engines.bundle import embedded_model

Site = Callable[..., Config]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A configuration with an export folder and a state folder, and a port that is free."""

    def make(**settings: Any) -> Config:
        for name in ("export", "state"):
            (tmp_path / name).mkdir(exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        return Config.model_validate(
            {
                "export_folder": tmp_path / "export",
                "state_folder": tmp_path / "state",
                "listen": f"127.0.0.1:{port}",
                "model": embedded_model("densitometry"),
                "workers": 1,
                **settings,
            }
        )

    return make

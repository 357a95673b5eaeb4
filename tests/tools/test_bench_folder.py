"""What the bench of the export folder says of a small one. The numbers themselves are not asserted."""

from __future__ import annotations

import json
from pathlib import Path

from command import scanlight


def test_every_file_is_told_of_once_and_the_time_and_memory_of_it_are_printed(tmp_path: Path) -> None:
    done = scanlight(
        "bench", "folder", "--files", "5000", "--per-folder", "300", "--into", str(tmp_path), "--json"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["files"], result["folders"], result["missed_or_repeated"]) == (5000, 17, 0)
    assert all(value > 0 for name, value in result.items() if name != "missed_or_repeated")
    assert list(tmp_path.iterdir()) == []

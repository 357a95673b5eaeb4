"""What the bench of the metrics says over a short journal. The numbers themselves are not asserted."""

from __future__ import annotations

import json

from command import scanlight


def test_the_daemon_and_the_counters_in_memory_tell_the_same() -> None:
    done = scanlight("bench", "metrics", "--series", "300", "--starts", "1", "--rounds", "2", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["series"], result["unlike"]) == (300, 0)
    assert result["events"] > 8 * 300
    assert all(value > 0 for name, value in result.items() if name != "unlike")

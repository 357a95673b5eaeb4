"""How many files this process may have open, connections among them."""

from __future__ import annotations

import resource
from typing import Final

MOST: Final = 65536


def allow_many() -> None:
    """Up to what the administrator allows, instead of what shells begin with, often 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if resource.RLIM_INFINITY != soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

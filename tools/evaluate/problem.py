"""What ends an evaluation."""

from __future__ import annotations


class CannotEvaluate(Exception):
    """One sentence: which file and line, what is wrong, what to do."""

"""Imported by the server that workers are forked from, and by nothing else.

A daemon that ends while a worker starts leaves that worker half a message, and the server would print the
exception to standard error, which is the daemon's log and has one JSON object a line.
"""

from __future__ import annotations

import sys
from types import TracebackType


def _say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, EOFError | ConnectionError):
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _say

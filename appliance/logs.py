"""Structured logs: one event a line, JSON on standard error. Codes, UIDs and numbers, no patient data."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from typing import TextIO

from appliance.clock import utc_now

_LOGGER = logging.getLogger("scanlight")


class _Lines(logging.Formatter):
    """An event with its fields as one JSON object; other libraries' messages as event `library`."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, object] = getattr(record, "fields", None) or {}
        line: dict[str, object] = {"at": utc_now(), "level": record.levelname.lower()}
        if record.name == _LOGGER.name:
            line |= {"event": record.getMessage(), **fields}
        else:
            line |= {"event": "library", "logger": record.name, "message": record.getMessage()}
        if record.exc_info and record.exc_info[0]:
            line |= {"error": record.exc_info[0].__name__, "where": _where(record)}
        return json.dumps(line, ensure_ascii=False, default=str)


def _where(record: logging.LogRecord) -> list[str]:
    """The frames of a traceback without its message, which may quote what a file said."""
    trace = record.exc_info[2] if record.exc_info else None
    frames = []
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno} {code.co_qualname}")
        trace = trace.tb_next
    return frames


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send all logs of the process to one stream."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Lines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    use_level(level)
    # pydicom's messages and warnings quote what a header says.
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")


def use_level(level: str) -> None:
    """From which level on events are written."""
    _LOGGER.setLevel(level.upper())


def event(name: str, level: int = logging.INFO, **fields: object) -> None:
    """Log that something happened. Fields are codes, UIDs and numbers, never what a header says in words."""
    _LOGGER.log(level, name, extra={"fields": fields})


def crash(name: str, error: BaseException, **fields: object) -> None:
    """Log an exception that ends something, without its message."""
    _LOGGER.error(name, exc_info=error, extra={"fields": fields})

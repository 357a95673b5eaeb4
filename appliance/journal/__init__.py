"""The journal: what was done. SQLite, one writing connection behind a lock; readers open read-only ones.

The export folder is the truth of what arrived, this the truth of what was done with it.
"""

from appliance.journal.reader import JournalReader
from appliance.journal.rows import (
    AUDIT_UPTO,
    BACKLOG,
    MANY,
    OTHER,
    Counts,
    Delivery,
    Event,
    FindingRow,
    JournalDamaged,
    JournalError,
    KnownFile,
    Mark,
    MarkRow,
    SeriesRow,
    StudySeriesRow,
    Total,
    is_blank,
    is_damage,
)
from appliance.journal.schema import MIGRATIONS, MIN_READER
from appliance.journal.writer import Journal

__all__ = [
    "AUDIT_UPTO",
    "BACKLOG",
    "MANY",
    "MIGRATIONS",
    "MIN_READER",
    "OTHER",
    "Counts",
    "Delivery",
    "Event",
    "FindingRow",
    "Journal",
    "JournalDamaged",
    "JournalError",
    "JournalReader",
    "KnownFile",
    "Mark",
    "MarkRow",
    "SeriesRow",
    "StudySeriesRow",
    "Total",
    "is_blank",
    "is_damage",
]

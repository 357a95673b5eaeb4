"""Where the journal's bytes are: by table, with its indexes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TableSize:
    """`bytes` are whole pages, with what is free in them."""

    table: str
    rows: int
    bytes: int

    @property
    def bytes_per_row(self) -> float:
        return self.bytes / self.rows if self.rows else 0.0


def table_sizes(journal: Path) -> list[TableSize]:
    """The largest first; none where this SQLite cannot tell (https://sqlite.org/dbstat.html).

    Of a journal that nobody has open: what is still in its log is moved into it.
    """
    with closing(sqlite3.connect(journal)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        try:
            sizes = db.execute(
                "SELECT tbl_name, SUM(pgsize) FROM dbstat JOIN sqlite_schema USING (name)"
                " GROUP BY tbl_name ORDER BY 2 DESC"
            ).fetchall()
        except sqlite3.OperationalError:
            return []
        return [
            TableSize(table, int(db.execute(f'SELECT COUNT(*) FROM "{table}"').fetchone()[0]), size)  # noqa: S608
            for table, size in sizes
        ]

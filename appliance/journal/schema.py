"""The tables of the journal, version by version."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from appliance.clock import utc_now

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    -- A subject is a series UID, or the path of a file that belongs to no series.
    CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        subject TEXT NOT NULL,
        stack INTEGER NOT NULL DEFAULT 1,
        study_uid TEXT,
        first_seen_at TEXT NOT NULL,
        ended INTEGER NOT NULL DEFAULT 0,
        provisional INTEGER NOT NULL DEFAULT 0,
        tries INTEGER NOT NULL DEFAULT 0,
        in_try INTEGER NOT NULL DEFAULT 0,
        parked INTEGER NOT NULL DEFAULT 0,
        next_try_at TEXT,
        UNIQUE (subject, stack)
    );

    -- What was read of each path, so that a restart parses only what is new. A path is bytes: not every name
    -- is UTF-8. `series_id` is NULL for a file that is none of ours.
    CREATE TABLE file (
        path BLOB PRIMARY KEY,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        kind TEXT NOT NULL,
        series_id INTEGER REFERENCES series (id)
    ) WITHOUT ROWID;
    CREATE INDEX file_by_series ON file (series_id);

    CREATE TABLE finding (
        id INTEGER PRIMARY KEY,
        series_id INTEGER NOT NULL REFERENCES series (id),
        revision INTEGER NOT NULL,
        reading_key TEXT NOT NULL,
        supersedes TEXT,
        outcome TEXT NOT NULL,
        reason TEXT,
        recorded_at TEXT NOT NULL,
        object TEXT,
        record TEXT NOT NULL,
        UNIQUE (series_id, revision),
        UNIQUE (series_id, reading_key)
    );

    CREATE TABLE delivery (
        finding_id INTEGER NOT NULL REFERENCES finding (id),
        destination TEXT NOT NULL,
        object TEXT NOT NULL,
        name TEXT NOT NULL,
        queued_at TEXT NOT NULL,
        delivered_at TEXT,
        tries INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (finding_id, destination)
    ) WITHOUT ROWID;
    CREATE INDEX delivery_open ON delivery (queued_at) WHERE delivered_at IS NULL;

    -- Append-only; the counters and histograms of the metrics are sums over it.
    CREATE TABLE event (
        id INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        name TEXT NOT NULL,
        label TEXT NOT NULL DEFAULT '',
        label2 TEXT NOT NULL DEFAULT '',
        value REAL NOT NULL DEFAULT 1
    );
    """,
    """
    -- A reading is unconfirmed until the known answers pass after it.
    ALTER TABLE finding ADD COLUMN unconfirmed INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE finding ADD COLUMN confirmed_at TEXT;
    CREATE INDEX finding_unconfirmed ON finding (series_id) WHERE unconfirmed;
    CREATE INDEX finding_outcome ON finding (outcome, series_id);
    CREATE INDEX series_ended ON series (ended);
    CREATE INDEX series_due ON series (next_try_at) WHERE next_try_at IS NOT NULL;

    -- Files from before the installation, of which nobody knows the series yet.
    CREATE INDEX file_backlog ON file (path) WHERE kind = 'backlog';
    """,
    """
    -- A study is named by the smallest id of its series. What people tell series from another by is kept as
    -- the page may show it, and nothing more.
    ALTER TABLE series ADD COLUMN study_id INTEGER;
    ALTER TABLE series ADD COLUMN station TEXT NOT NULL DEFAULT '';
    ALTER TABLE series ADD COLUMN label TEXT NOT NULL DEFAULT '';
    ALTER TABLE series ADD COLUMN number INTEGER;
    ALTER TABLE series ADD COLUMN kernel TEXT;
    CREATE INDEX series_by_study_uid ON series (study_uid);
    UPDATE series SET study_id = CASE WHEN study_uid IS NULL THEN id
        ELSE (SELECT MIN(id) FROM series other WHERE other.study_uid = series.study_uid) END;
    CREATE INDEX series_by_study ON series (study_id);
    CREATE INDEX series_by_station ON series (station);

    -- What people did about a study. Append-only; what it covers points here.
    CREATE TABLE mark (
        id INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        action TEXT NOT NULL,
        study_id INTEGER NOT NULL,
        name TEXT NOT NULL
    );
    CREATE INDEX mark_by_study ON mark (study_id);

    -- Somebody should look at a finding, and nobody has: it flags what the revision before it did not, or it
    -- is current and was not analysed, or failed.
    ALTER TABLE finding ADD COLUMN attention INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE finding ADD COLUMN mark_id INTEGER REFERENCES mark (id);
    UPDATE finding SET attention = 1 WHERE outcome = 'flagged' AND
        (SELECT outcome FROM finding p WHERE p.series_id = finding.series_id AND p.revision < finding.revision
            ORDER BY p.revision DESC LIMIT 1) IS NOT 'flagged';
    UPDATE finding SET attention = 1 WHERE outcome IN ('not_analysed', 'failed') AND NOT EXISTS
        (SELECT 1 FROM finding n WHERE n.series_id = finding.series_id AND n.revision > finding.revision);
    CREATE INDEX finding_attention ON finding (series_id) WHERE attention;
    CREATE INDEX finding_by_mark ON finding (mark_id) WHERE mark_id IS NOT NULL;

    -- Triggers, so that the rules hold as well for rows that the version before writes after a rollback.
    CREATE TRIGGER series_study AFTER INSERT ON series BEGIN
        UPDATE series SET study_id = COALESCE(
            (SELECT MIN(id) FROM series other WHERE other.study_uid = NEW.study_uid), NEW.id)
        WHERE id = NEW.id;
    END;
    CREATE TRIGGER finding_attention_of_new AFTER INSERT ON finding BEGIN
        UPDATE finding SET attention = 0
        WHERE series_id = NEW.series_id AND attention AND outcome != 'flagged' AND id != NEW.id;
        UPDATE finding SET attention = 1 WHERE id = NEW.id AND (
            NEW.outcome IN ('not_analysed', 'failed')
            OR (NEW.outcome = 'flagged' AND
                (SELECT outcome FROM finding p WHERE p.series_id = NEW.series_id AND p.revision < NEW.revision
                    ORDER BY p.revision DESC LIMIT 1) IS NOT 'flagged'));
    END;

    -- When the inode of a file that is none of ours last changed: an exporter that fills a file in place may
    -- put its mtime back.
    CREATE TABLE passed (path BLOB PRIMARY KEY, changed_ns INTEGER NOT NULL) WITHOUT ROWID;

    -- Lines on their way to the audit log, which repeats none of these numbers.
    CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, entry TEXT NOT NULL);
    """,
    """
    -- Sums over the events, so that no scrape has to read those of years. The values of some are counted in
    -- buckets, each under the smallest of the bounds that it does not exceed; those above all, and the values
    -- of all others, under infinity. A trigger, so that what an older version writes after a rollback counts.
    CREATE TABLE bound (name TEXT NOT NULL, up_to REAL NOT NULL, PRIMARY KEY (name, up_to)) WITHOUT ROWID;
    INSERT INTO bound VALUES
        ('stage_duration', 0.005), ('stage_duration', 0.01), ('stage_duration', 0.025),
        ('stage_duration', 0.05), ('stage_duration', 0.1), ('stage_duration', 0.25),
        ('stage_duration', 0.5), ('stage_duration', 1.0), ('stage_duration', 2.5),
        ('stage_duration', 5.0), ('stage_duration', 10.0), ('stage_duration', 30.0),
        ('stage_duration', 60.0);
    INSERT INTO bound VALUES
        ('last_slice_to_flag', 0.005), ('last_slice_to_flag', 0.01), ('last_slice_to_flag', 0.025),
        ('last_slice_to_flag', 0.05), ('last_slice_to_flag', 0.1), ('last_slice_to_flag', 0.25),
        ('last_slice_to_flag', 0.5), ('last_slice_to_flag', 1.0), ('last_slice_to_flag', 2.5),
        ('last_slice_to_flag', 5.0), ('last_slice_to_flag', 10.0), ('last_slice_to_flag', 30.0),
        ('last_slice_to_flag', 60.0);
    INSERT INTO bound VALUES
        ('probability', 0.05), ('probability', 0.1), ('probability', 0.15), ('probability', 0.2),
        ('probability', 0.25), ('probability', 0.3), ('probability', 0.35), ('probability', 0.4),
        ('probability', 0.45), ('probability', 0.5), ('probability', 0.55), ('probability', 0.6),
        ('probability', 0.65), ('probability', 0.7), ('probability', 0.75), ('probability', 0.8),
        ('probability', 0.85), ('probability', 0.9), ('probability', 0.95), ('probability', 1.0);
    CREATE TABLE total (
        name TEXT NOT NULL,
        label TEXT NOT NULL,
        label2 TEXT NOT NULL,
        up_to REAL NOT NULL,
        events INTEGER NOT NULL,
        value REAL NOT NULL,
        PRIMARY KEY (name, label, label2, up_to)
    ) WITHOUT ROWID;
    INSERT INTO total
        SELECT name, label, label2,
            COALESCE((SELECT MIN(up_to) FROM bound WHERE bound.name = event.name AND up_to >= value), 9e999),
            COUNT(*), SUM(value)
        FROM event GROUP BY 1, 2, 3, 4;
    CREATE TRIGGER event_total AFTER INSERT ON event BEGIN
        INSERT INTO total VALUES (
            NEW.name, NEW.label, NEW.label2,
            COALESCE((SELECT MIN(up_to) FROM bound WHERE name = NEW.name AND up_to >= NEW.value), 9e999),
            1, NEW.value
        ) ON CONFLICT (name, label, label2, up_to)
        DO UPDATE SET events = events + 1, value = value + excluded.value;
    END;
    """,
)
"""Numbered and additive: entry n brings the schema from version n to n + 1."""

MIN_READER = 1
"""The oldest schema version whose code can still read what this one writes."""


def bring_to(version: int, db: sqlite3.Connection) -> None:
    """Migrate from the version before."""
    for statement in _statements(MIGRATIONS[version - 1]):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {version}")
    set_meta(db, "min_reader", str(MIN_READER))
    if version == 1:
        set_meta(db, "created_at", utc_now())


def set_meta(db: sqlite3.Connection, key: str, value: str) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit the transaction around it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""

"""The tables of the database, and the steps to each version of them. A step once released stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.spool.incoming import MAIL_STATES
from mailslot.spool.job import STATES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


MIGRATIONS: Final[Mapping[int, tuple[str, ...]]] = {
    4: (
        # Columns that queries often read come before long ones. `file` is NULL once the file was removed. `delivering`:
        # whether a delivery has sent the message and awaits the reply; without meaning if no process delivers.
        """CREATE TABLE jobs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            state TEXT NOT NULL,
            via TEXT NOT NULL,
            pipeline TEXT NOT NULL,
            next_attempt REAL,
            changed_at REAL NOT NULL,
            created_at REAL NOT NULL,
            expires_at REAL,
            lifetime REAL NOT NULL,
            attempts INTEGER NOT NULL,
            doubts INTEGER NOT NULL,
            file TEXT UNIQUE,
            start INTEGER NOT NULL,
            size INTEGER NOT NULL,
            eight_bit INTEGER NOT NULL,
            smtputf8 INTEGER NOT NULL,
            delivering INTEGER NOT NULL DEFAULT 0,
            cause TEXT,
            message_id TEXT NOT NULL,
            sender TEXT NOT NULL,
            subject TEXT NOT NULL,
            sentence TEXT NOT NULL,
            reply TEXT NOT NULL,
            notes TEXT NOT NULL,
            recipients TEXT NOT NULL
        )""",
        "CREATE INDEX jobs_by_state ON jobs (state, changed_at)",
        "CREATE INDEX jobs_due ON jobs (via, id) WHERE state IN ('queued', 'deferred')",
        # When the first job of a record is due.
        "CREATE INDEX jobs_by_record ON jobs (via, state, next_attempt)",
        "CREATE INDEX jobs_files ON jobs (file, size) WHERE file IS NOT NULL",
        # No foreign key: keys outlive their jobs, and `state` is then the job's final state.
        """CREATE TABLE keys (
            pipeline TEXT NOT NULL,
            key TEXT NOT NULL,
            job INTEGER NOT NULL,
            state TEXT,
            at REAL NOT NULL,
            PRIMARY KEY (pipeline, key)
        ) WITHOUT ROWID""",
        "CREATE INDEX keys_by_job ON keys (job)",
        """CREATE TABLE mails (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            record TEXT NOT NULL,
            uid TEXT NOT NULL,
            state TEXT NOT NULL,
            tries INTEGER NOT NULL,
            due_at REAL,
            fetched_at REAL NOT NULL,
            changed_at REAL NOT NULL,
            file TEXT UNIQUE,
            size INTEGER NOT NULL,
            digest TEXT NOT NULL,
            reason TEXT NOT NULL
        )""",
        "CREATE INDEX mails_by_digest ON mails (record, digest)",
        "CREATE INDEX mails_by_state ON mails (record, state)",
        "CREATE INDEX mails_files ON mails (file, size) WHERE file IS NOT NULL",
        # `size`: the octets that the server announced for the mail; NULL if unknown.
        """CREATE TABLE uids (
            record TEXT NOT NULL,
            uid TEXT NOT NULL,
            mail INTEGER REFERENCES mails (id),
            passed_over INTEGER NOT NULL,
            tries INTEGER NOT NULL,
            deleted INTEGER NOT NULL,
            seen_at REAL NOT NULL,
            size INTEGER,
            PRIMARY KEY (record, uid)
        ) WITHOUT ROWID""",
        "CREATE INDEX uids_by_mail ON uids (mail)",
        "CREATE TABLE maildrops (record TEXT PRIMARY KEY, begun_at REAL NOT NULL) WITHOUT ROWID",
        """CREATE TABLE memory (
            store TEXT NOT NULL,
            key TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (store, key)
        ) WITHOUT ROWID""",
        # When the database had to be recreated, how many jobs and mails were recovered from their files, and how many
        # jobs were damaged.
        "CREATE TABLE losses (at REAL NOT NULL, found INTEGER NOT NULL DEFAULT 0, damaged INTEGER NOT NULL DEFAULT 0)",
        # What is asked for at each message, however many there are: the number of unfinished jobs, and the octets of
        # all files of jobs and mails. The triggers keep both right.
        "CREATE TABLE totals (unfinished INTEGER NOT NULL, octets INTEGER NOT NULL)",
        "INSERT INTO totals VALUES (0, 0)",
        """CREATE TRIGGER jobs_inserted AFTER INSERT ON jobs BEGIN
            UPDATE totals SET
                unfinished = unfinished + (NEW.state IN ('queued', 'sending', 'deferred', 'held', 'in_doubt')),
                octets = octets + iif(NEW.file IS NULL, 0, NEW.size);
        END""",
        """CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs BEGIN
            UPDATE totals SET
                unfinished = unfinished - (OLD.state IN ('queued', 'sending', 'deferred', 'held', 'in_doubt')),
                octets = octets - iif(OLD.file IS NULL, 0, OLD.size);
        END""",
        """CREATE TRIGGER jobs_updated AFTER UPDATE OF state, file, size ON jobs BEGIN
            UPDATE totals SET
                unfinished = unfinished - (OLD.state IN ('queued', 'sending', 'deferred', 'held', 'in_doubt')),
                octets = octets - iif(OLD.file IS NULL, 0, OLD.size);
            UPDATE totals SET
                unfinished = unfinished + (NEW.state IN ('queued', 'sending', 'deferred', 'held', 'in_doubt')),
                octets = octets + iif(NEW.file IS NULL, 0, NEW.size);
        END""",
        """CREATE TRIGGER mails_inserted AFTER INSERT ON mails BEGIN
            UPDATE totals SET octets = octets + iif(NEW.file IS NULL, 0, NEW.size);
        END""",
        """CREATE TRIGGER mails_deleted AFTER DELETE ON mails BEGIN
            UPDATE totals SET octets = octets - iif(OLD.file IS NULL, 0, OLD.size);
        END""",
        """CREATE TRIGGER mails_updated AFTER UPDATE OF file, size ON mails BEGIN
            UPDATE totals SET octets = octets - iif(OLD.file IS NULL, 0, OLD.size);
            UPDATE totals SET octets = octets + iif(NEW.file IS NULL, 0, NEW.size);
        END""",
    ),
}
"""The statements of each step, by the version that it leads to. Earlier versions than the first one here were those of
checkouts before the first release."""

UNSOUND_ROWS: Final = f"""
    SELECT 'job', id FROM jobs
    WHERE NOT json_valid(recipients) OR NOT json_valid(notes) OR state NOT IN ({_quoted(STATES)})
    UNION ALL SELECT 'mail', id FROM mails WHERE state NOT IN ({_quoted(MAIL_STATES)}) LIMIT 1
"""  # noqa: S608 - our own words
"""Finds a row that was damaged in a way that the database itself does not notice."""


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of a database; 0 for an empty one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring a database of that version up to date, within the caller's transaction."""
    for leads_to, statements in MIGRATIONS.items():
        if leads_to > version:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={leads_to}")

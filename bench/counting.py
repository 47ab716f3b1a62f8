"""Run a command of mailslot and count what it costs: ``python -m bench.counting RESULT ARGUMENTS…``.

Counted are calls and not time, so that the counts are the same on every machine. When the command has ended, the file
`RESULT` has them as JSON.
"""

from __future__ import annotations

import atexit
import json
import os
import sqlite3
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import anyio.to_thread

COUNTS: Counter[str] = Counter()


def count_calls(owner: Any, name: str, what: str) -> None:
    called = getattr(owner, name)

    def counted(*arguments: Any, **options: Any) -> Any:
        COUNTS[what] += 1
        return called(*arguments, **options)

    setattr(owner, name, counted)


def count_statements() -> None:
    connect = sqlite3.connect

    def connected(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        level, begun = "FULL", ""

        def note(statement: str) -> None:
            nonlocal level, begun
            COUNTS["SQL statements"] += 1
            if statement.startswith("PRAGMA synchronous="):
                level = statement.partition("=")[2]
            elif statement.startswith("BEGIN"):
                begun = statement
            elif statement == "COMMIT" and begun == "BEGIN IMMEDIATE":
                COUNTS["commits"] += 1
                COUNTS["syncs"] += level == "FULL"

        connection.set_trace_callback(note)
        return connection

    sqlite3.connect = connected


if __name__ == "__main__":
    result = Path(sys.argv.pop(1))
    count_calls(os, "fsync", "syncs")
    count_calls(anyio.to_thread, "run_sync", "threads")
    count_statements()

    from mailslot.slots import settings_reader
    from mailslot.vault.documents import FolderDocuments

    count_calls(settings_reader, "parse_settings_document", "settings parsed")
    count_calls(FolderDocuments, "state", "settings looked at")
    count_calls(FolderDocuments, "read", "documents read")
    atexit.register(lambda: result.write_text(json.dumps(COUNTS)))

    from mailslot.cli import main

    main()

"""All repositories of the spool of a device in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.fleet.postgres.jobs import PostgresJobs
from mailslot.fleet.postgres.mails import PostgresMails
from mailslot.fleet.postgres.messages import PostgresMessages
from mailslot.fleet.postgres.rows import DeviceRows
from mailslot.fleet.postgres.values import PostgresValues
from mailslot.spool.job import UNFINISHED
from mailslot.spool.repositories import DatabaseLoss, Totals

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from mailslot.fleet.postgres.database import DeviceId, Rows


class PostgresRepositories(DeviceRows):
    """The repositories of a spool, in a transaction; see `mailslot.spool.repositories.Repositories`.

    Args:
        connection: the database.
        device: the device.
        folder: where files are put for pipelines.

    Attributes:
        messages: the messages of jobs and mails.
    """

    def __init__(self, connection: Rows, device: DeviceId, folder: Path) -> None:
        super().__init__(connection, device)
        self.jobs: Final = PostgresJobs(connection, device)
        self.mails: Final = PostgresMails(connection, device, folder)
        self.values: Final = PostgresValues(connection, device)
        self.messages: Final = PostgresMessages(connection, device)

    def totals(self, pipeline: str = "", keys: Collection[str] = ()) -> Totals:
        """Return how much there is of what has a limit, and whether a pipeline has used one of these keys."""
        query = (
            "SELECT (SELECT count(*) FROM jobs WHERE device = %(device)s AND state = ANY(%(states)s)) AS unfinished, "
            "((SELECT coalesce(sum(size), 0) FROM jobs WHERE device = %(device)s AND file IS NOT NULL) "
            "+ (SELECT coalesce(sum(size), 0) FROM mails WHERE device = %(device)s AND file IS NOT NULL))::bigint "
            "AS octets, EXISTS (SELECT 1 FROM keys WHERE device = %(device)s AND pipeline = %(pipeline)s "
            "AND key = ANY(%(keys)s)) AS has_key"
        )
        [found] = self.tuples(query, states=[*UNFINISHED], pipeline=pipeline, keys=[*keys])
        return Totals(*found)

    def files(self) -> set[str]:
        """Return the names of the files of all jobs and mails."""
        query = (
            "SELECT file FROM jobs WHERE device = %(device)s AND file IS NOT NULL UNION "
            "SELECT file FROM mails WHERE device = %(device)s AND file IS NOT NULL"
        )
        return {file for (file,) in self.tuples(query)}

    def refers_to(self, file: str) -> bool:
        """Tell whether a job or mail has a file of this name."""
        query = (
            "SELECT 1 FROM jobs WHERE device = %(device)s AND file = %(file)s UNION ALL "
            "SELECT 1 FROM mails WHERE device = %(device)s AND file = %(file)s"
        )
        return self.one(query, file=file) is not None

    def has_file(self, file: str) -> bool:
        """Tell whether a message is there."""
        return self.messages.exists(file)

    def losses(self) -> list[DatabaseLoss]:
        """Return all losses of the database, oldest first."""
        query = "SELECT at, found, damaged FROM losses WHERE device = %(device)s ORDER BY at"
        return [DatabaseLoss(*row) for row in self.tuples(query)]

    def remove_file(self, file: str) -> None:
        """Remove a message that no job and no mail refers to any more."""
        self.messages.delete(file)

"""Connections to the database of a fleet, and transactions for one device."""

from __future__ import annotations

import atexit
import logging
import random
import re
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from psycopg import Connection, Error, ProgrammingError, connect
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from mailslot.errors import InputError
from mailslot.fleet.postgres.errors import is_busy, is_unreachable
from mailslot.fleet.postgres.patience import OF_WORKERS, Outage, Patience
from mailslot.fleet.postgres.roles import ROLE
from mailslot.fleet.postgres.schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping


T = TypeVar("T")

Kind = Literal["read", "write", "beside"]

Rows = Connection[dict[str, Any]]
"""A connection whose rows are mappings by column name."""

CONNECTIONS: Final = 8
"""The maximum number of connections of a process."""

_LOOK_AFTER: Final = 0.25
"""Seconds after which whoever must not wait long looks whether the pool could connect, which the pool does not tell."""
_LOCK_TIMEOUT: Final = "15s"
_IDLE_TIMEOUT: Final = "60s"
"""The maximum idle time of a transaction. If its machine is gone, the device's row stays locked for this time; without
it, the server would notice only after two hours."""
_IN_DOUBT: Final = 60.0
"""Seconds to find out whether an unanswered commit took place."""
_PAUSE: Final = 0.25

_BEGIN: Final[Mapping[Kind, str]] = {
    "read": "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "write": "BEGIN ISOLATION LEVEL READ COMMITTED",
    "beside": "BEGIN ISOLATION LEVEL READ COMMITTED",
}

_REMEMBERED: Final = 8
"""The number of a device's last transactions that are recorded, to identify one whose commit was not answered."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeviceId:
    """A device.

    Attributes:
        tenant_name: the name of its tenant.
        name: its name.
        tenant: the number of its tenant.
        number: its own number.
    """

    tenant_name: str
    name: str
    tenant: int
    number: int

    def __str__(self) -> str:
        """Return both names, as people enter them."""
        return f"{self.tenant_name}/{self.name}"


@dataclass(frozen=True, slots=True)
class _Write:
    """A write transaction of a device.

    Attributes:
        number: the number of the device's changes, including this one.
        token: its unique identifier.
    """

    number: int
    token: int


class DeviceGoneError(Exception):
    """The device was removed from the fleet."""


class CommitInDoubtError(Exception):
    """The connection broke during a commit, and it is unknown whether it took place."""


def _check_address(url: str) -> None:
    # The text of the error quotes the address, which may contain a password.
    try:
        port = str(conninfo_to_dict(url).get("port", ""))
    except ProgrammingError:
        port = "unknown"
    if not re.fullmatch(r"[0-9,]*", port):
        raise InputError(
            "The address of the database is not understood: it is postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with "
            "%XX for special characters, and then the parameters of libpq, if any.",
            stage="resolve",
        )


def _begin(connection: Rows, device: DeviceId, kind: Kind) -> _Write | None:
    """Begin a transaction; return its identity if its kind is `write`.

    All statements are sent in one message, which cannot have parameters; only numbers are inserted.

    Raises:
        DeviceGoneError: the device was removed.
    """
    statements = (
        f"{_BEGIN[kind]}; SELECT set_config('search_path', '{SCHEMA}, pg_temp', true), "
        f"set_config('lock_timeout', '{_LOCK_TIMEOUT}', true), "
        f"set_config('idle_in_transaction_session_timeout', '{_IDLE_TIMEOUT}', true), "
        f"set_config('mailslot.tenant', '{device.tenant:d}', true), set_config('role', '{ROLE}', true)"
    )
    if kind != "write":
        connection.execute(statements.encode())
        return None
    token = random.getrandbits(63)
    statements += (
        "; UPDATE device_state SET changes = changes + 1, "
        f"last_writes = ({token:d}::bigint || last_writes)[1:{_REMEMBERED}] "
        f"WHERE device = {device.number:d} RETURNING changes"
    )
    cursor = connection.execute(statements.encode())
    while cursor.nextset():
        pass
    row = cursor.fetchone()
    if row is None:
        raise DeviceGoneError(str(device))
    return _Write(row["changes"], token)


class FleetDatabase:
    """The database; it connects when it is first used. Every method blocks, and may raise `psycopg.Error`.

    Args:
        url: its address, ``postgresql://…``.
        connections: the maximum number of connections.
        patience: for how long to wait for it.

    Raises:
        InputError: the address is malformed.
    """

    def __init__(self, url: str, connections: int = CONNECTIONS, patience: Patience = OF_WORKERS) -> None:
        _check_address(url)
        self._url = url
        self._patience = patience
        self._outage = Outage(patience.pause)
        self._mutex = threading.Lock()
        self._opened = False
        self._not_connected = 0
        self._pool: ConnectionPool[Rows] = ConnectionPool(
            url,
            connection_class=Rows,
            # Behind a pooler, the next transaction may use another connection, without its prepared statements.
            kwargs={
                "row_factory": dict_row,
                "prepare_threshold": None,
                "autocommit": True,
                "connect_timeout": patience.connect,
                "application_name": "mailslot",
                "keepalives_idle": 30,
                "tcp_user_timeout": patience.unacknowledged,
            },
            min_size=0,
            max_size=connections,
            max_idle=60.0,
            timeout=patience.wait,
            reconnect_timeout=0,
            reconnect_failed=self._note_not_connected,
            num_workers=1,
            open=False,
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()
        atexit.unregister(self.close)

    @contextmanager
    def connection(self) -> Generator[Rows]:
        """Yield a connection without an open transaction."""
        connection, _ = self._lend(lambda each: each.execute("SELECT"))
        try:
            yield connection
        finally:
            self._pool.putconn(connection)

    def _open(self) -> None:
        if not self._mutex.acquire(timeout=self._patience.wait):
            raise PoolTimeout("another thread does not connect, either")
        try:
            if not self._opened:
                # The pool would wait for a long time, and not report why there is no connection.
                connect(self._url, connect_timeout=self._patience.connect, application_name="mailslot").close()
                self._pool.open()
                # Its threads must end before the process does.
                atexit.register(self.close)
                self._opened = True
        finally:
            self._mutex.release()

    def _lend(self, begin: Callable[[Rows], T]) -> tuple[Rows, T]:
        """Take a connection and begin with it, unless the database could not be used a moment ago."""
        asked_at = self._outage.ask()
        if asked_at is None:
            raise PoolTimeout("the database could not be used a moment ago")
        try:
            lent = self._lend_working(begin)
        except Error as error:
            if is_unreachable(error):
                self._outage.failed(asked_at)
            raise
        self._outage.worked()
        return lent

    def _lend_working(self, begin: Callable[[Rows], T]) -> tuple[Rows, T]:
        """Take a connection and begin with it; if it broke while it was idle, take another one.

        Checking each connection first would cost each transaction a round trip.
        """
        self._open()
        connection = self._take()
        try:
            return connection, begin(connection)
        except BaseException as error:
            self._give_back(connection)
            if not isinstance(error, Error) or not is_unreachable(error):
                raise
        # After a restart of the database, the others are broken, too.
        self._pool.check()
        connection = self._take()
        try:
            return connection, begin(connection)
        except BaseException:
            self._give_back(connection)
            raise

    def _take(self) -> Rows:
        """Take a connection from the pool, which itself would go on waiting for one when it cannot connect."""
        if not self._patience.pause:
            return self._pool.getconn()
        before, end = self._not_connected, time.monotonic() + self._patience.wait
        while True:
            try:
                return self._pool.getconn(timeout=_LOOK_AFTER)
            except PoolTimeout:
                # The one that is left may be that which the pool tries to make now.
                has_none = self._not_connected != before and self._pool.get_stats()["pool_size"] <= 1
                if has_none or time.monotonic() >= end:
                    raise

    def _note_not_connected(self, _: object) -> None:
        """Count, in the pool's own thread, that it could not connect."""
        self._not_connected += 1

    def _give_back(self, connection: Rows) -> None:
        if connection.pgconn.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
            # The pool closes a connection that fails here.
            with suppress(Error):
                connection.execute("ROLLBACK")
        self._pool.putconn(connection)

    @contextmanager
    def device_transaction(self, device: DeviceId, kind: Kind = "write") -> Generator[Rows]:
        """Run the block in a transaction in which only the rows of the device's tenant exist.

        If the connection breaks during the commit, this finds out whether it took place.

        Args:
            device: the device.
            kind: `read` has a consistent snapshot; `write` transactions of a device are serialized; `beside` writes
                without waiting for them.

        Raises:
            DeviceGoneError: the device was removed.
            CommitInDoubtError: it is unknown whether it was committed.
        """
        committing: _Write | None = None
        try:
            connection, write = self._lend(lambda each: _begin(each, device, kind))
            try:
                yield connection
                committing = write
                connection.execute("COMMIT")
            finally:
                self._give_back(connection)
        except Error as error:
            # The broken connection was returned before. Otherwise, after a restart of the database, all threads that
            # hold a connection would wait for another one.
            if committing is None or not is_unreachable(error):
                raise
            took_place = self._took_place(device, committing)
            if took_place is None:
                raise CommitInDoubtError(str(device)) from error
            logger.info("A commit that was not answered %s", "took place" if took_place else "did not take place")
            if not took_place:
                raise

    def _took_place(self, device: DeviceId, write: _Write) -> bool | None:
        """Find out on another connection whether a transaction was committed; None if it stays unknown.

        PostgreSQL's own `pg_xact_status` is not reliable if a standby has taken over meanwhile, which may reuse the
        number of a transaction that it never received.
        """
        end = time.monotonic() + _IN_DOUBT
        while time.monotonic() < end:
            try:
                with self.device_transaction(device, "beside") as connection:
                    # This waits for the transaction if it is still running. And since it locks the row, its own commit
                    # is written after that of the transaction: a standby that has it has both.
                    row = connection.execute(
                        "SELECT changes, last_writes FROM device_state WHERE device = %s FOR UPDATE", (device.number,)
                    ).fetchone()
            except Error as error:
                if not is_unreachable(error) and not is_busy(error):
                    return None
            else:
                if row is None:
                    return None
                if write.token in row["last_writes"]:
                    return True
                return None if row["changes"] - write.number >= _REMEMBERED else False
            time.sleep(_PAUSE)
        return None

    def retrying(self, run: Callable[[], T]) -> T:
        """Run a transaction, and once more if its connection broke before the commit."""
        try:
            return run()
        except Error as error:
            if not is_unreachable(error):
                raise
        return run()

"""Links by which the owner of a mailbox signs in for a device, and pending sign-ins, in the database.

So any process can continue a sign-in that another one has begun, and a restart loses none. The secrets in links, states
and browsers' cookies are stored only as digests.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import TokenError
from mailslot.fleet.postgres.database import DeviceId
from mailslot.fleet.postgres.errors import as_input_error
from mailslot.fleet.postgres.key_registry import owner_transaction
from mailslot.fleet.postgres.rows import DeviceRows
from mailslot.fleet.postgres.schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mailslot.fleet.postgres.database import FleetDatabase

_OCTETS: Final = 32
_MAX_ATTEMPTS: Final = 20
"""Pending sign-ins by one link; beginning another one ends the oldest."""

_KEPT_DAYS: Final = 90
"""Days after which an expired link is deleted."""

_COLUMNS: Final = (
    "id, records, account, granted, cause, sentence, signed_in, withdrawn, used_at IS NOT NULL AS used, "
    "expires_at <= now() AS expired, extract(epoch FROM made_at)::double precision AS made_at, "
    "extract(epoch FROM expires_at)::double precision AS expires_at"
)


@dataclass(frozen=True, slots=True)
class GrantedAccess:
    """A grant for a record by a link.

    Attributes:
        account: the user who signed in.
        scopes: the granted scopes.
    """

    account: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SignInLink:
    """A link.

    Attributes:
        id: its number.
        records: the records that get a token by it, in order.
        account: the user who has to sign in.
        made_at: when it was created, in seconds since 1970.
        expires_at: when it expires, in seconds since 1970.
        expired: whether it has expired.
        withdrawn: whether it was withdrawn.
        granted: the grants so far, by record.
        cause: the cause of the last failed sign-in; None if none has failed since the last success.
        sentence: the sentence of the cause.
        signed_in: the user who signed in then, if it was the wrong one.
    """

    id: int
    records: tuple[str, ...]
    account: str
    made_at: float
    expires_at: float
    expired: bool
    withdrawn: bool
    granted: dict[str, GrantedAccess] = field(default_factory=dict[str, GrantedAccess])
    cause: str | None = None
    sentence: str = ""
    signed_in: str | None = None

    @property
    def next_record(self) -> str | None:
        """The record whose token is still missing; None if there is none."""
        return next((record for record in self.records if record not in self.granted), None)

    @property
    def state(self) -> str:
        """``used``, ``withdrawn``, ``expired`` or ``open``."""
        if self.next_record is None:
            return "used"
        return "withdrawn" if self.withdrawn else "expired" if self.expired else "open"


@dataclass(frozen=True, slots=True)
class BegunSignIn:
    """A pending sign-in.

    Attributes:
        device: the device.
        link: the number of its link.
        record: the record that will get the token.
        sealed: the encrypted state that is needed to continue it.
    """

    device: DeviceId
    link: int
    record: str
    sealed: bytes


class SignInLinks:
    """The links. Every method blocks, and may raise `InputError` if the database cannot be used.

    Args:
        database: the database.
    """

    def __init__(self, database: FleetDatabase) -> None:
        self._database = database

    def make(self, device: DeviceId, records: Sequence[str], account: str, seconds: float) -> tuple[int, str]:
        """Create a link; return its number and its secret, which is not stored."""
        token = secrets.token_urlsafe(_OCTETS)

        def write(rows: DeviceRows) -> Any:  # noqa: ANN401 - a number
            rows.execute(
                "DELETE FROM sign_in_links WHERE device = %(device)s "
                "AND expires_at < now() - make_interval(days => %(days)s)",
                days=_KEPT_DAYS,
            )
            return rows.value(
                "INSERT INTO sign_in_links (tenant, device, digest, records, account, expires_at) VALUES (%(tenant)s, "
                "%(device)s, %(digest)s, %(records)s, %(account)s, now() + make_interval(secs => %(seconds)s)) "
                "RETURNING id",
                digest=_digest(token),
                records=[*records],
                account=account,
                seconds=seconds,
            )

        return self._run(device, write), token

    def find(self, token: str) -> tuple[DeviceId, SignInLink] | None:
        """Return the device and the link with this secret; None if there is none."""
        device = self._device_of("find_sign_in_link", token)
        if device is None:
            return None
        query = f"SELECT {_COLUMNS} FROM sign_in_links WHERE device = %(device)s AND digest = %(digest)s"
        row = self._run(device, lambda rows: rows.one(query, digest=_digest(token)))
        return None if row is None else (device, _link(row))

    def begin(
        self, device: DeviceId, link: int, record: str, *, state: str, browser: str, sealed: bytes, seconds: float
    ) -> None:
        """Store a pending sign-in.

        Args:
            device: the device.
            link: the number of the link.
            record: the record.
            state: the state of the authorization request.
            browser: the secret in the browser's cookie.
            sealed: the encrypted state that is needed to continue it.
            seconds: the seconds that it may take.
        """

        def write(rows: DeviceRows) -> None:
            rows.execute(
                "DELETE FROM sign_in_attempts WHERE device = %(device)s AND (until <= now() OR link = %(link)s AND "
                "state NOT IN (SELECT state FROM sign_in_attempts WHERE link = %(link)s ORDER BY until DESC "
                "LIMIT %(most)s))",
                link=link,
                most=_MAX_ATTEMPTS - 1,
            )
            rows.execute(
                "INSERT INTO sign_in_attempts (tenant, device, state, link, browser, record, sealed, until) VALUES "
                "(%(tenant)s, %(device)s, %(state)s, %(link)s, %(browser)s, %(record)s, %(sealed)s, "
                "now() + make_interval(secs => %(seconds)s))",
                state=_digest(state),
                link=link,
                browser=_digest(browser),
                record=record,
                sealed=sealed,
                seconds=seconds,
            )

        self._run(device, write)

    def take(self, state: str, browser: str) -> BegunSignIn | None:
        """Return and remove a pending sign-in of this browser; None if there is none, or it has expired."""
        device = self._device_of("find_sign_in_attempt", state)
        if device is None:
            return None
        query = (
            "DELETE FROM sign_in_attempts WHERE device = %(device)s AND state = %(state)s AND browser = %(browser)s "
            "AND until > now() RETURNING link, record, sealed"
        )
        row = self._run(device, lambda rows: rows.one(query, state=_digest(state), browser=_digest(browser)))
        return None if row is None else BegunSignIn(device, row["link"], row["record"], row["sealed"])

    def note_failure(self, device: DeviceId, link: int, *, cause: str, sentence: str, signed_in: str | None) -> None:
        """Store the failure of a sign-in by a link, which can still be used."""
        query = (
            "UPDATE sign_in_links SET cause = %(cause)s, sentence = %(sentence)s, signed_in = %(signed_in)s "
            "WHERE device = %(device)s AND id = %(link)s AND used_at IS NULL"
        )
        values = {"cause": cause, "sentence": sentence, "signed_in": signed_in}
        self._run(device, lambda rows: rows.execute(query, link=link, **values))

    def all(self, tenant: str | None = None) -> list[tuple[str, str, SignInLink]]:
        """Return all links with the names of tenant and device, the newest first, as the owner of the tables."""
        query = (
            f"SELECT tenants.name AS tenant_name, devices.name AS device_name, links.* FROM "
            f"(SELECT device AS of_device, {_COLUMNS} FROM {SCHEMA}.sign_in_links) AS links "
            f"JOIN {SCHEMA}.devices ON devices.id = of_device JOIN {SCHEMA}.tenants ON tenants.id = devices.tenant "
            "WHERE %(tenant)s::text IS NULL OR tenants.name = %(tenant)s ORDER BY links.id DESC"
        )
        with owner_transaction(self._database) as connection:
            found = connection.execute(query.encode(), {"tenant": tenant}).fetchall()
        return [(row["tenant_name"], row["device_name"], _link(row)) for row in found]

    def withdraw(self, number: int) -> bool:
        """Withdraw an unused link, as the owner of the tables; return whether there was one."""
        query = (
            f"UPDATE {SCHEMA}.sign_in_links SET withdrawn = true WHERE id = %s AND used_at IS NULL AND NOT withdrawn"
        )
        with owner_transaction(self._database) as connection:
            return connection.execute(query.encode(), (number,)).rowcount == 1

    def _device_of(self, function: str, secret: str) -> DeviceId | None:
        with as_input_error(), self._database.connection() as connection:
            row = connection.execute(f"SELECT * FROM {SCHEMA}.{function}(%s)".encode(), (_digest(secret),)).fetchone()
        return None if row is None else DeviceId(row["tenant_name"], row["device_name"], row["tenant"], row["device"])

    def _run(self, device: DeviceId, work: Callable[[DeviceRows], Any]) -> Any:  # noqa: ANN401 - what `work` returns
        with as_input_error(), self._database.device_transaction(device, "beside") as connection:
            return work(DeviceRows(connection, device))


def complete(rows: DeviceRows, link: int, record: str, granted: GrantedAccess) -> None:
    """Record a grant by a link, in the transaction that stores its token.

    Raises:
        TokenError: the link can no longer be used, so the token must not be stored.
    """
    query = f"SELECT {_COLUMNS} FROM sign_in_links WHERE device = %(device)s AND id = %(link)s FOR UPDATE"
    row = rows.one(query, link=link)
    found = None if row is None else _link(row)
    if found is None or found.state != "open" or record in found.granted:
        raise link_closed_error()
    after = {**found.granted, record: granted}
    rows.execute(
        "UPDATE sign_in_links SET granted = %(granted)s, cause = NULL, sentence = '', signed_in = NULL, "
        "used_at = CASE WHEN %(last)s THEN now() END WHERE device = %(device)s AND id = %(link)s",
        link=link,
        granted=json.dumps({name: [each.account, *each.scopes] for name, each in after.items()}),
        last=set(found.records) <= after.keys(),
    )


def link_closed_error() -> TokenError:
    """Return the error for a link that can no longer be used."""
    return TokenError(
        "This link was used, withdrawn or has expired meanwhile, so the token was not stored.",
        cause="token_not_retrieved",
    )


def _link(row: dict[str, Any]) -> SignInLink:
    granted = {
        name: GrantedAccess(account, tuple(scopes)) for name, (account, *scopes) in json.loads(row["granted"]).items()
    }
    return SignInLink(
        id=row["id"],
        records=tuple(row["records"]),
        account=row["account"],
        made_at=row["made_at"],
        expires_at=row["expires_at"],
        expired=row["expired"],
        withdrawn=row["withdrawn"],
        granted=granted,
        cause=row["cause"],
        sentence=row["sentence"],
        signed_in=row["signed_in"],
    )


def _digest(secret: str) -> bytes:
    """Return the digest of a random secret; it needs no salt."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()

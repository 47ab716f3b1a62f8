"""Links for owners of mailboxes: the records of a device that need a sign-in, by the user who has to sign in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.fleet.consent import PREFIX
from mailslot.slots.flows import APP_FLOWS, flow_name
from mailslot.slots.oauth_client import client_for_flow
from mailslot.slots.records import Records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mailslot.fleet.postgres.home import PostgresHome
    from mailslot.fleet.postgres.sign_in_links import SignInLinks
    from mailslot.slots.settings import Settings

_HOUR = 3600.0
_WORKS = frozenset({"ok", "expiring"})


@dataclass(frozen=True, slots=True)
class MadeLink:
    """A new link.

    Attributes:
        id: its number.
        device: the device, as TENANT/DEVICE.
        account: the user who has to sign in.
        address: the link, which is not stored anywhere.
    """

    id: int
    device: str
    account: str
    address: str


def make_links(
    links: SignInLinks, home: PostgresHome, slots: Sequence[str], user: str | None, *, base: str, now: float, hours: int
) -> list[MadeLink]:
    """Make the links for a device, one for each user who has to sign in. It blocks.

    Args:
        links: the stored links.
        home: the device.
        slots: as for `records_to_sign_in`.
        user: as for `records_to_sign_in`.
        base: the https address of the pages.
        now: the time, in seconds since the epoch.
        hours: the hours for which they can be used.

    Raises:
        MailError: as for `records_to_sign_in`.
    """
    made: list[MadeLink] = []
    for account, records in records_to_sign_in(Records(home), slots, user, now).items():
        number, token = links.make(home.device, records, account, hours * _HOUR)
        made.append(MadeLink(number, str(home.device), account, f"{base}{PREFIX}/link/{token}"))
    return made


def records_to_sign_in(records: Records, slots: Sequence[str], user: str | None, now: float) -> dict[str, list[str]]:
    """Return the records by the user who has to sign in for them. It blocks.

    Args:
        records: the device.
        slots: the ids of slots; empty for all that need a sign-in and have no working token.
        user: the user; None for the account of each record.
        now: the time, in seconds since the epoch.

    Raises:
        InputError: there is no such slot, or its settings are incomplete.
        MailError: the settings or secrets cannot be read.
    """
    settings, directory = records.settings.load(), records.settings.slots()
    if slots:
        chosen = list(dict.fromkeys(directory.find(name).record for name in slots))
    else:
        chosen = [record for record in directory.protocols if _needs_somebody(records, record, settings[record], now)]
    found: dict[str, list[str]] = {}
    for record in chosen:
        client = client_for_flow(records.vault, record, settings[record], "browser")
        found.setdefault(user or client.account, []).append(record)
    return found


def _needs_somebody(records: Records, record: str, settings: Settings, now: float) -> bool:
    if settings.authentication != "oauth2" or settings.token_source is not None:
        return False
    try:
        if flow_name(settings) in APP_FLOWS:
            return False
    except InputError:
        return False  # it is not set up
    _, health = records.tokens.status_blocking(record, settings, now)
    return health is None or health.state not in _WORKS

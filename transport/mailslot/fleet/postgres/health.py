"""The health of the tokens of a fleet's devices, in columns, since only a device's keys can decrypt its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from mailslot.slots.effective_settings import effective_settings
from mailslot.slots.settings import protocol_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.fleet.postgres.rows import DeviceRows
    from mailslot.service.device import Device


async def token_health(device: Device) -> dict[str, tuple[str, str | None]]:
    """Return the state and cause of the token of each record that is set up (`mailslot.oauth.health.Health`).

    The state of a record that needs no token is ``ok``.
    """
    found: dict[str, tuple[str, str | None]] = {}
    in_use = await run_sync(device.records.settings.current)
    for record, settings in in_use.records.items():
        if effective_settings(settings, protocol_of(record, settings)).server is None and settings.provider is None:
            continue
        _, health = await device.records.tokens.status(record, settings, device.now())
        found[record] = ("ok", None) if health is None else (health.state, health.cause)
    return found


def write_health(rows: DeviceRows, health: Mapping[str, tuple[str, str | None]]) -> None:
    """Replace the stored health of a device's tokens.

    Args:
        rows: the device, in a transaction.
        health: the result of `token_health`.
    """
    rows.execute(
        "DELETE FROM record_health WHERE device = %(device)s AND NOT record = ANY(%(records)s)", records=[*health]
    )
    rows.execute_many(
        "INSERT INTO record_health AS known (tenant, device, record, state, cause) VALUES (%(tenant)s, %(device)s, "
        "%(record)s, %(state)s, %(cause)s) ON CONFLICT (device, record) DO UPDATE SET state = excluded.state, "
        "cause = excluded.cause, checked_at = now(), "
        "since = CASE WHEN known.state = excluded.state THEN known.since ELSE now() END",
        [{"record": record, "state": state, "cause": cause} for record, (state, cause) in health.items()],
    )

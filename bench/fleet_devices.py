"""Many devices at once in a fleet, for measurements: all have the settings and secrets of the first one."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailslot.fleet.postgres.database import DeviceId
from mailslot.fleet.postgres.rows import DeviceRows
from mailslot.fleet.postgres.schema import SCHEMA
from mailslot.fleet.postgres.seals import Seals
from mailslot.oauth.grant import Grant
from mailslot.slots.records import Records
from mailslot.vault.record import dump, seal
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from lab.postgres import Fleet

_COPY = "COPY documents (tenant, device, name, octets, version) FROM STDIN"

RECORD, USER = "status-pop", "status@example.com"
VAULT = f"vault/{RECORD}.json"


@dataclass(frozen=True)
class Ports:
    """The ports of the servers on this machine."""

    pop: int
    tokens: int
    smtp: int


def settings(ports: Ports, interval: int) -> dict[str, dict[str, object]]:
    """Return the settings of a device, by record: a mailbox with OAuth, and a server that takes everything."""
    return {
        RECORD: {
            "server": "localhost",
            "port": ports.pop,
            "security": "tls",
            "authentication": "oauth2",
            "account": USER,
            "provider": "custom",
            "client_id": "copier",
            "issuer": f"http://localhost:{ports.tokens}",
            "token_endpoint": f"http://localhost:{ports.tokens}/token",
            "authorization_endpoint": f"http://localhost:{ports.tokens}/authorize",
            "scopes": "mail",
            "check_interval": interval,
            "first_poll": "all",
        },
        "smtp": {
            "server": "localhost",
            "port": ports.smtp,
            "security": "none",
            "sender_address": "scanner@example.com",
        },
    }


def grant(ports: Ports, seconds: float) -> Grant:
    """Return a grant whose access token lasts some seconds."""
    now = time.time()
    return Grant(
        flow="browser",
        access_token=Secret("a" * 1_500),
        expires_at=now + seconds,
        refresh_token=Secret("r" * 1_000),
        scopes=("mail",),
        obtained_at=now,
        renewed_at=now,
        account=USER,
        token_origin=f"http://localhost:{ports.tokens}",
    )


def add_devices(
    fleet: Fleet, number: int, tenants: int, ports: Ports, *, interval: int, lifetimes: list[float]
) -> None:
    """Add devices.

    Args:
        fleet: the fleet.
        number: how many.
        tenants: how many tenants they are spread over.
        ports: the servers.
        interval: the minutes between two polls.
        lifetimes: for how many seconds their access tokens last at first, in turn.
    """
    first = fleet.add_device("t0")
    records = Records(first)
    for record, values in settings(ports, interval).items():
        records.change(record, values, {})
    text = first.documents.read("mailslot.toml", 1_000_000)
    fleet.registry.remove("t0", first.device.name)
    for place in range(min(tenants, number)):
        tenant = f"t{place}"
        home = fleet.home(tenant, fleet.registry.add(tenant, "d0", fleet.master).name)
        key = home.keys.newest()
        with fleet.database.connection() as connection, connection.transaction():
            connection.execute(f"SET LOCAL search_path = {SCHEMA}")
            added = connection.execute(
                "INSERT INTO devices (tenant, name) SELECT %s, 'd' || place FROM generate_series(1, %s) AS place "
                "RETURNING id, name",
                (home.device.tenant, len(range(place, number, tenants)) - 1),
            ).fetchall()
            connection.execute(
                "INSERT INTO device_state (tenant, device) SELECT tenant, id FROM devices WHERE id = ANY(%s)",
                ([each["id"] for each in added],),
            )
            devices = [(home.device.number, "d0"), *((each["id"], each["name"]) for each in added)]
            vaults: list[tuple[DeviceId, bytes]] = []
            with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
                for (device, name), lifetime in zip(devices, itertools.cycle(lifetimes), strict=False):
                    grants = seal(grant(ports, lifetime).to_secret(), key, RECORD, "grant", (tenant, name))
                    octets = dump({"grant": grants})
                    copy.write_row((home.device.tenant, device, "mailslot.toml", text, 1))
                    copy.write_row((home.device.tenant, device, VAULT, octets, 2))
                    vaults.append((DeviceId(tenant, name, home.device.tenant, device), octets))
            for owner, octets in vaults:
                Seals(owner, home.keys).write(DeviceRows(connection, owner), VAULT, octets, 2)
            connection.execute(
                "UPDATE device_state SET last_version = 2 WHERE device = ANY(%s)", ([device for device, _ in devices],)
            )

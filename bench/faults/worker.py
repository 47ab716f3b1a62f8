"""A worker process with a pipeline whose every effect can be counted: it answers each mail by one message."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from mailslot.fleet.homes import FleetHomes
from mailslot.fleet.master_key import FileMasterKey
from mailslot.fleet.opening import FleetPlaces
from mailslot.fleet.postgres.database import FleetDatabase
from mailslot.fleet.worker import FleetWorker
from mailslot.message import Message
from mailslot.service.pipeline import Done
from mailslot.spool.job import NewJob

if TYPE_CHECKING:
    from mailslot.service.device import Device
    from mailslot.service.pipeline import Handled
    from mailslot.spool.incoming import Incoming

SENDER, TO = "scanner@example.com", "alice@example.com"


class Answering:
    """Sends a message for each mail, with a key, as pipelines do."""

    name = "answering"
    section = None
    polls = "status-pop"

    async def handle(self, mail: Incoming, device: Device) -> Handled:
        assert mail.path is not None
        head = mail.path.read_bytes().partition(b"\r\n\r\n")[0].decode().splitlines()
        subject = next(line for line in head if line.startswith("Subject: "))[9:]
        answer = Message(sender=SENDER, to=[TO], subject=f"answer to {subject}", text="Hello.")
        # As jobs of an installed pipeline, which are sent again when in doubt; those of others are left to a person.
        new = NewJob("scan", "smtp", SENDER, [TO], answer.subject, key=f"answer {mail.id}")
        await device.spool.accept(new, answer)
        return Done("answered")

    async def run(self, device: Device) -> None:
        return


async def main() -> None:
    url, folder = os.environ["MAILSLOT_DATABASE"], Path(os.environ["FOLDER"])
    database = FleetDatabase(url, 12)
    places = FleetPlaces(folder, folder / "master.key")
    homes = FleetHomes(url, database, FileMasterKey(places.master_key), places)
    worker = FleetWorker(homes, [Answering()], work=8, renewals=2)
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:

        async def stopped() -> None:
            async for _ in signals:
                return

        await worker.run(stopped)
    database.close()


if __name__ == "__main__":
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(message)s"
    )
    logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    anyio.run(main)

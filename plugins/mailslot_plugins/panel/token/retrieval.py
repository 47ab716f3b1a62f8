"""Sign-ins as background tasks: obtain a token with the chosen method, then test the connection."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from mailslot.errors import MailError
from mailslot.slots.direct_token_source import direct_token_source
from mailslot.slots.flows import find_flow
from mailslot_plugins.panel.background import tasks_of
from mailslot_plugins.panel.connection_test.running_test import start_test
from mailslot_plugins.panel.token.authorization import PanelFlow

if TYPE_CHECKING:
    from starlette.datastructures import State

    from mailslot.oauth.flow import Flow, Person
    from mailslot.service.device import Device
    from mailslot.slots.settings import Settings
    from mailslot_plugins.panel.background import BackgroundTask
    from mailslot_plugins.panel.token.sign_in import SignIn

logger = logging.getLogger(__name__)


def task_key(record: str) -> tuple[str, ...]:
    """Return the key of the task for a record's token: one sign-in or one deletion at a time."""
    return ("token", record)


def start_sign_in(state: State, sign_in: SignIn, settings: Settings) -> BackgroundTask[SignIn]:
    """Start a sign-in; it replaces a running one for the same record."""
    return tasks_of(state).start(task_key(sign_in.slot.record), sign_in, partial(_sign_in, state, settings))


async def _sign_in(state: State, settings: Settings, sign_in: SignIn) -> None:
    try:
        await _obtain(state.device, settings, sign_in)
    except MailError as error:
        extra = {"slot": sign_in.slot.id, "cause": error.cause}
        logger.warning("%s: no token was obtained: %s", sign_in.slot.record, error, extra=extra)
        sign_in.end("failed", error)
    else:
        logger.info("%s: a token was obtained", sign_in.slot.record)
        sign_in.end("done")
        start_test(state, sign_in.slot, restart=True)
    finally:
        # For an unexpected exception; it is logged.
        sign_in.end("failed")


async def _obtain(device: Device, settings: Settings, sign_in: SignIn) -> None:
    record, method = sign_in.slot.record, sign_in.method
    if method.name == "source":
        direct = await run_sync(direct_token_source, device.records.vault, record, settings)
        assert direct is not None  # noqa: S101 - this method exists only if the settings name a source
        await direct.token()
        return
    if method.redirect_uri:
        flow: Flow[Person] = PanelFlow(method.flow, method.redirect_uri, sign_in.set_pending)
    else:
        flow = await run_sync(find_flow, method.flow)
    http = await device.connector.token_sources.http(settings)
    source = await run_sync(device.records.tokens.source, record, settings, flow, http)
    await source.obtain(sign_in)

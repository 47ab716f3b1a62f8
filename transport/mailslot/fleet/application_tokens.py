"""Tokens of a tenant's application (client credentials), which a worker obtains, since nobody has to sign in."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from mailslot.errors import InputError, MailError
from mailslot.oauth.grant_source import GrantSource
from mailslot.slots.flows import APP_FLOWS, flow_name

if TYPE_CHECKING:
    from mailslot.service.device import Device

logger = logging.getLogger(__name__)


async def is_missing(device: Device, record: str) -> bool:
    """Return whether a record signs in as the application, by its settings, and has no token yet.

    Raises:
        MailError: the secrets cannot be read.
    """
    settings = (await run_sync(device.records.settings.current)).records.get(record)
    if settings is None or settings.authentication != "oauth2" or settings.flow is None:
        return False
    try:
        if flow_name(settings) not in APP_FLOWS:
            return False
    except InputError:
        return False  # it names no provider
    return await device.records.tokens.store(record).load() is None


async def obtain_if_missing(device: Device, record: str) -> MailError | None:
    """Obtain a token if it is missing; return the error if that fails, else None.

    Raises:
        MailError: the secrets cannot be read.
    """
    if not await is_missing(device, record):
        return None
    extra = {"record": record}
    try:
        source = (await device.connector.profile(record)).token_source
        if not isinstance(source, GrantSource):
            return None
        await source.obtain(None)
    except MailError as error:
        logger.warning("The application got no token: %s", error, extra={**extra, "cause": error.cause})
        return error
    logger.info("The application got a token", extra=extra)
    return None

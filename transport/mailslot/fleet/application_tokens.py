"""Tokens that the application of a tenant gets for itself: a worker obtains them, since nobody has to sign in."""

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
    """Tell whether a record's application signs in as itself, as its settings say, and has no token yet.

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
    """Obtain a missing token; return why there is none, or None if nothing was missing or it was obtained.

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

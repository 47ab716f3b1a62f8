"""Token refresh for all records, including those that are not used for a while."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError, MailError
from mailslot.exit_guard import ExitGuard
from mailslot.oauth.grant_source import GrantSource
from mailslot.service.log import describe_error

if TYPE_CHECKING:
    from mailslot.service.device import Device

_HOUR: Final = 3600.0

logger = logging.getLogger(__name__)


async def refresh_tokens(device: Device) -> None:
    """Check all tokens once an hour, and whenever the settings have changed, until cancelled."""
    while True:
        seen = device.changes
        for record in device.slots.protocols:
            await refresh_when_due(device, record)
        await device.pause(_HOUR, seen=seen)


async def refresh_when_due(device: Device, record: str, *, in_use: bool = False) -> None:
    """Refresh a record's token if that is due, and log if the newest one cannot be saved.

    A failure is logged; the caller tries again later.

    Args:
        device: the device.
        record: the record.
        in_use: whether to refresh the token before it expires; otherwise only if it was not used for a while.
    """
    extra = {"record": record}
    try:
        with ExitGuard():
            source = (await device.connector.profile(record)).token_source
            if not isinstance(source, GrantSource):
                return
            if in_use:
                await source.token()
            elif await source.refresh_if_idle():
                logger.info("The token was renewed, since it was not used for a while", extra=extra)
    except InputError:
        # It is not configured; an error at its next use says so.
        return
    except MailError as error:
        logger.warning("The token could not be looked after: %s", error, extra={**extra, "cause": error.cause})
        return
    except Exception as error:  # noqa: BLE001 - a token source may raise anything, and the other tokens must still be refreshed
        logger.error("The token could not be looked after: %s", describe_error(error), extra=extra)  # noqa: TRY400 - no traceback
        return
    if source.save_error is not None:
        logger.error("The newest token is in memory only: %s", source.save_error, extra=extra)

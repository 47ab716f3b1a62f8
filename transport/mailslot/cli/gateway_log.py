"""The gateway's log, as commands read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.diagnosis.gateway_log import GatewayLog
    from mailslot.home.home import Home

T = TypeVar("T")


async def read_log(home: Home, read: Callable[[GatewayLog], Awaitable[T]], without: T) -> T:
    """Return what the gateway has noted.

    Args:
        home: the home.
        read: reads it.
        without: what to return where nothing was ever noted.

    Raises:
        MailError: it cannot be read.
    """
    if not home.has_spool():
        return without
    # The spool takes a while to import, and where there is none it is not needed.
    from mailslot.diagnosis.gateway_log import STORE, GatewayLog  # noqa: PLC0415
    from mailslot.spool.spool import Spool  # noqa: PLC0415

    async with Spool(home) as spool:
        return await read(GatewayLog(spool.store(STORE)))


def unknown_address(address: str, known: list[str]) -> InputError:
    """Return the error for an address from which no unknown device has come."""
    there = f" The unknown devices are: {', '.join(known[:10])}." if known else ""
    return InputError(
        f"No unknown device has come from {address[:80]}.{there} To add one that has not come yet: "
        f"mailslot device add NAME --address {address[:80]}",
        stage="resolve",
        key="address",
    )

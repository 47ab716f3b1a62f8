"""Reading the gateway's log in commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from mailslot.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mailslot.diagnosis.gateway_log import GatewayLog
    from mailslot.home.home import Home

T = TypeVar("T")


async def read_log(home: Home, read: Callable[[GatewayLog], Awaitable[T]], without: T) -> T:
    """Return a part of the gateway's log.

    Args:
        home: the home.
        read: reads it.
        without: the result if there is no log yet.

    Raises:
        MailError: it cannot be read.
    """
    if not home.has_spool():
        return without
    # The spool takes a while to import, and is not needed if it does not exist.
    from mailslot.diagnosis.gateway_log import STORE, GatewayLog  # noqa: PLC0415
    from mailslot.spool.spool import Spool  # noqa: PLC0415

    async with Spool(home) as spool:
        return await read(GatewayLog(spool.store(STORE)))


def unknown_address(address: str, known: list[str]) -> InputError:
    """Return the error for an address from which no unknown device has connected."""
    there = f" The unknown devices are: {', '.join(known[:10])}." if known else ""
    return InputError(
        f"No unknown device has come from {address[:80]}.{there} To add one that has not come yet: "
        f"mailslot device add NAME --address {address[:80]}",
        stage="resolve",
        key="address",
    )

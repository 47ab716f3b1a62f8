"""From an endpoint to a session that has been greeted, whichever address family works."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from mailslot.errors import NetworkError
from mailslot.net.channel import Channel
from mailslot.net.connect import connect, other_family, resolve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mailslot.net.endpoint import Endpoint

T = TypeVar("T")


async def establish(endpoint: Endpoint, timeout: float, greet: Callable[[Channel], Awaitable[T]]) -> T:
    """Resolve, connect, and let `greet` do the rest until the server has greeted.

    Racing addresses ends with the TCP connection. Where TLS or the greeting then stalls, as behind a tunnel that
    drops large packets, the other family is tried once.

    Args:
        endpoint: where to connect to.
        timeout: seconds for each step.
        greet: brings TLS up where it comes first, and reads the greeting; the channel is closed where it fails.

    Raises:
        MailError: as `resolve`, `connect` and `greet` do.
    """
    addresses = await resolve(endpoint, timeout)
    channel = await _channel(endpoint, addresses, timeout)
    used = channel.remote_host or ""
    try:
        return await _greeted(channel, greet)
    except NetworkError as error:
        others = other_family(addresses, used)
        if error.cause != "connection_timeout" or not others:
            raise
        try:
            channel = await _channel(endpoint, others, timeout)
        except NetworkError:
            raise error from None
        return await _greeted(channel, greet)


async def _channel(endpoint: Endpoint, addresses: Sequence[str], timeout: float) -> Channel:
    return Channel(await connect(endpoint, addresses, timeout), endpoint)


async def _greeted(channel: Channel, greet: Callable[[Channel], Awaitable[T]]) -> T:
    try:
        return await greet(channel)
    except BaseException:
        # A cancellation may come before `greet` has done anything.
        channel.close()
        raise

"""From an endpoint to a session that has been greeted, whichever address family works."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from mailslot.errors import NetworkError
from mailslot.net.channel import Channel
from mailslot.net.connect import addresses_of_other_family, connect, resolve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mailslot.errors import Stage
    from mailslot.net.endpoint import Endpoint

T = TypeVar("T")


async def establish(
    endpoint: Endpoint,
    timeout: float,
    greet: Callable[[Channel], Awaitable[T]],
    on_stage: Callable[[Stage], None] | None = None,
) -> T:
    """Resolve, connect, and let `greet` do the rest until the server has greeted.

    Racing addresses ends with the TCP connection. Where TLS or the greeting then stalls, as behind a tunnel that
    drops large packets, the other family is tried once.

    Args:
        endpoint: where to connect to.
        timeout: seconds for each step.
        greet: brings TLS up where it comes first, and reads the greeting; the channel is closed where it fails.
        on_stage: called as looking up, and connecting, begin.

    Raises:
        MailError: as `resolve`, `connect` and `greet` do.
    """

    async def channel_to(some: Sequence[str]) -> Channel:
        begin("connect")
        return Channel(await connect(endpoint, some, timeout), endpoint)

    begin = on_stage or _unwatched
    begin("resolve")
    addresses = await resolve(endpoint, timeout)
    channel = await channel_to(addresses)
    used = channel.remote_host or ""
    try:
        return await _greeted(channel, greet)
    except NetworkError as error:
        others = addresses_of_other_family(addresses, used)
        if error.cause != "connection_timeout" or not others:
            raise
        try:
            channel = await channel_to(others)
        except NetworkError:
            raise error from None
        return await _greeted(channel, greet)


def _unwatched(stage: Stage) -> None:
    """Nobody wants to know."""


async def _greeted(channel: Channel, greet: Callable[[Channel], Awaitable[T]]) -> T:
    try:
        return await greet(channel)
    except BaseException:
        # A cancellation may come before `greet` has done anything.
        channel.close()
        raise

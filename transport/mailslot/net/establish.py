"""Connect and await the server's greeting, over whichever address family works."""

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
    """Resolve, connect, and have `greet` start TLS if due and read the greeting.

    The race between addresses ends with the TCP connection. If TLS or the greeting then times out, as behind a tunnel
    that drops large packets, the other address family is tried once.

    Args:
        endpoint: where to connect to.
        timeout: seconds for each step.
        greet: starts TLS if it comes first, and reads the greeting; the channel is closed if it fails.
        on_stage: called when resolving and connecting begin.

    Raises:
        MailError: as `resolve`, `connect` and `greet` do.
    """

    async def open_channel(candidates: Sequence[str]) -> Channel:
        report_stage("connect")
        return Channel(await connect(endpoint, candidates, timeout), endpoint)

    report_stage = on_stage or _ignore_stage
    report_stage("resolve")
    addresses = await resolve(endpoint, timeout)
    channel = await open_channel(addresses)
    first_host = channel.remote_host or ""
    try:
        return await _greet_or_close(channel, greet)
    except NetworkError as error:
        others = addresses_of_other_family(addresses, first_host)
        if error.cause != "connection_timeout" or not others:
            raise
        try:
            channel = await open_channel(others)
        except NetworkError:
            raise error from None
        return await _greet_or_close(channel, greet)


def _ignore_stage(stage: Stage) -> None:
    """Do nothing: the caller gave no `on_stage`."""


async def _greet_or_close(channel: Channel, greet: Callable[[Channel], Awaitable[T]]) -> T:
    try:
        return await greet(channel)
    except BaseException:
        # A cancellation may come before `greet` has started.
        channel.close()
        raise

"""A submitter that sends like mailslot's own and logs each message."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mailslot.plugin import connect_smtp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from mailslot.plugin import Capabilities, Content, Endpoint, OAuth, Password, Receipt, SubmissionSession

logger = logging.getLogger(__name__)


class LoggingSession:
    """Wraps a session of another submitter, and logs each message."""

    def __init__(self, session: SubmissionSession) -> None:
        self._session = session

    @property
    def capabilities(self) -> Capabilities:
        """What the server offers."""
        return self._session.capabilities

    @property
    def usable(self) -> bool:
        """Whether another message can be submitted."""
        return self._session.usable

    async def submit(self, sender: str, recipients: Sequence[str], message: bytes | Content, **how: Any) -> Receipt:
        """Submit one message, and log it."""
        receipt = await self._session.submit(sender, recipients, message, **how)
        logger.info("The server took a message for %d of %d recipients", len(receipt.accepted), len(recipients))
        return receipt

    async def probe(self, sender: str, recipients: Sequence[str]) -> None:
        """Ask whether a message would be taken."""
        await self._session.probe(sender, recipients)


@asynccontextmanager
async def connect(
    endpoint: Endpoint, auth: OAuth | Password | None = None, /, **how: Any
) -> AsyncGenerator[SubmissionSession]:
    """Open a session."""
    async with connect_smtp(endpoint, auth, **how) as session:
        yield LoggingSession(session)

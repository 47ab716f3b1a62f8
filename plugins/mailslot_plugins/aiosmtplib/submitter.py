"""Opening an SMTP session through aiosmtplib."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.net.endpoint import check_timeout
from mailslot.smtp.connect import open_smtp_dialogue
from mailslot_plugins.aiosmtplib.dialogue import AiosmtplibDialogue
from mailslot_plugins.aiosmtplib.session import AiosmtplibSession

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator, Callable

    from mailslot.errors import Stage
    from mailslot.net.channel import Channel
    from mailslot.net.endpoint import Endpoint
    from mailslot.sasl.credentials import Credentials
    from mailslot.wire.redact import Redactor
    from mailslot.wire.transcript import Transcript


@asynccontextmanager
async def connect(
    endpoint: Endpoint,
    auth: Credentials | None = None,
    *,
    ssl_context: ssl.SSLContext | None = None,
    timeout: float = 30.0,
    final_timeout: float = 600.0,
    transcript: Transcript | None = None,
    on_stage: Callable[[Stage], None] | None = None,
) -> AsyncGenerator[AiosmtplibSession]:
    """Open a session; see `mailslot.slots.submitter.Submitter`.

    Raises:
        InputError: this is not asyncio, or the settings cannot be used.
        MailError: any step failed; its `stage` says which.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise InputError(
            "aiosmtplib works on asyncio alone, and this program runs on trio: set submitter to mailslot.",
            stage="resolve",
            cause="not_configured",
        ) from None
    check_timeout(final_timeout)

    def make_dialogue(channel: Channel, redactor: Redactor) -> AiosmtplibDialogue:
        return AiosmtplibDialogue(channel, timeout=timeout, transcript=transcript, redactor=redactor, on_stage=on_stage)

    dialogue = await open_smtp_dialogue(
        make_dialogue, endpoint, auth, ssl_context=ssl_context, timeout=timeout, on_stage=on_stage
    )
    try:
        yield AiosmtplibSession(dialogue, final_timeout=final_timeout)
    except BaseException:
        await dialogue.abort()
        raise
    else:
        await dialogue.quit()

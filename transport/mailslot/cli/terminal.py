"""The terminal as the `mailslot.oauth.flow.Person` of a sign-in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TextIO, cast
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.to_thread
import segno
from rich.markup import escape

if TYPE_CHECKING:
    from rich.console import Console

    from mailslot.oauth.flow import UserCode


class Terminal:
    """Shows addresses and codes; only `ask_pasted_address` needs a keyboard."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._expires_at: float | None = None

    async def count_down(self) -> None:
        """Show how long a code is still valid, until cancelled; only on a terminal."""
        if not self._console.is_terminal:
            return
        with self._console.status("") as status:
            while True:
                left = None if self._expires_at is None else max(0, math.ceil(self._expires_at - anyio.current_time()))
                status.update(
                    "Working …" if left is None else f"Waiting for the sign-in, {left // 60}:{left % 60:02} left"
                )
                await anyio.sleep(1)

    async def show_address(self, address: str) -> None:
        """Show an address to open on this machine."""
        self._console.print("Open this address in a browser on this machine, and sign in:\n")
        self._console.print(f"  {escape(address)}\n", soft_wrap=True, highlight=False)

    async def show_code(self, code: UserCode) -> None:
        """Show the code, the address, and a picture of it for a phone."""
        self._expires_at = code.expires_at
        minutes = max(1, math.ceil((code.expires_at - anyio.current_time()) / 60))
        self._console.print(f"On a phone or computer, open  [bold]{escape(code.verification_uri)}[/bold]")
        self._console.print(f"and enter the code            [bold]{escape(code.user_code)}[/bold]\n")
        if self._console.is_terminal:
            picture = segno.make(code.verification_uri_complete or code.verification_uri, micro=False)
            picture.terminal(out=cast("TextIO", self._console.file), compact=True, border=2)
        self._console.print(
            f"The code is good for {minutes} minutes, and for this device only. Enter no code that somebody sent you."
        )

    async def ask_pasted_address(self, address: str) -> str:
        """Show an address, and read the redirect address that the browser could not open."""
        self._console.print("Open this address in a browser on any machine, and sign in:\n")
        self._console.print(f"  {escape(address)}\n", soft_wrap=True, highlight=False)
        # The person sees there where the browser is sent (RFC 6749 section 4.1.1).
        query = parse_qs(urlsplit(address).query)
        redirect_uri = query.get("redirect_uri", ["http://127.0.0.1 or http://localhost"])[0]
        self._console.print(
            f"At the end the browser fails to open a page whose address begins with {escape(redirect_uri)}. That is "
            "meant to be so. Copy that address and paste it here:",
            highlight=False,
        )
        return await anyio.to_thread.run_sync(self._console.input, "> ", abandon_on_cancel=True)

    async def show_message(self, text: str) -> None:
        """Show a message."""
        self._console.print(escape(text))

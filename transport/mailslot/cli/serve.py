"""``mailslot serve`` and ``mailslot metrics``, for typer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import anyio
import typer

from mailslot.cli.home import open_records
from mailslot.cli.serving import serve_home

if TYPE_CHECKING:
    from mailslot.home.home import Home


def serve(
    context: typer.Context,
    *,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Show the panel here: PORT alone on this machine only, anything else by https."
        ),
    ] = None,
    backend: Annotated[Literal["asyncio", "trio"], typer.Option(help="The event loop.")] = "asyncio",
    log: Annotated[
        Literal["json", "plain"] | None, typer.Option(help="How to log; plain on a terminal, else JSON lines.")
    ] = None,
) -> None:
    """Send and fetch mail and renew tokens, until stopped.

    Examples:
        mailslot serve
        mailslot serve --listen 8025
        mailslot serve --listen 0.0.0.0:8443
    """
    home: Home = context.obj
    serve_home(home, listen, backend, log)


def print_metrics(context: typer.Context) -> None:
    """Print the state of the device for Prometheus.

    Examples:
        mailslot metrics
    """
    from mailslot.service.device import open_device  # noqa: PLC0415
    from mailslot.service.metrics import metrics  # noqa: PLC0415

    async def main() -> str:
        async with open_device(open_records(context.obj)) as device:
            return await metrics(device)

    sys.stdout.write(anyio.run(main))

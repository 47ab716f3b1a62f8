"""``/journal``: the newest recorded mails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from starlette.routing import Route

from mailslot_plugins.panel.render import device_of, render
from mailslot_sample.journal import SECTION

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response


async def show(request: Request) -> Response:
    """Return the page."""
    device = device_of(request)
    file = device.settings(SECTION)["file"] or device.home / "journal.txt"
    return render(request, "journal/journal.html", lines=await run_sync(_newest, file))


def _newest(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()[:-21:-1] if file.exists() else []


routes = [Route("/journal", show)]

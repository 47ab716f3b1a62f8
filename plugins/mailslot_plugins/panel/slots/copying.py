"""``/slots/{slot}/copy``: gives other records the provider and the account of a slot."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from starlette.routing import Route

from mailslot.errors import MailError
from mailslot.slots.slot import is_account
from mailslot_plugins.panel.permission import requested_by
from mailslot_plugins.panel.render import device_of, redirect, text
from mailslot_plugins.panel.security.session import Notice
from mailslot_plugins.panel.slots.labels import value_text
from mailslot_plugins.panel.slots.menu import slot_of
from mailslot_plugins.panel.slots.names import slot_names

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Slot


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """A record that can get the same provider and account.

    Attributes:
        record: its name.
        name: the names of its slots.
        is_set: whether it has a provider or a server already.
        provider: its present provider, for people; may be empty.
        account: its present account; may be empty.
    """

    record: str
    name: str
    is_set: bool
    provider: str
    account: str


async def copy_targets(request: Request, slot: Slot, settings: Settings) -> list[CopyTarget]:
    """Return the other records of the device's own slots that differ; none if the slot has no provider to copy.

    Args:
        request: the request.
        slot: the slot.
        settings: its settings.
    """
    if settings.authentication != "oauth2" or settings.token_source is not None or not settings.account:
        return []
    device, language = device_of(request), request.state.language
    found: list[CopyTarget] = []
    for record, other in (await run_sync(device.records.settings.current)).records.items():
        if record == slot.record or is_account(record) or _identity(other) == _identity(settings):
            continue
        provider = value_text("provider", other.provider, language) or other.issuer or ""
        name = slot_names(device.slots.of(record), language)
        found.append(CopyTarget(record, name, bool(provider or other.server), provider, other.account or ""))
    return found


async def copy(request: Request) -> Response:
    """Copy the provider and the account to the chosen records."""
    slot, device = slot_of(request), device_of(request)
    form: FormData = request.state.form
    chosen = {str(each) for each in form.getlist("record")}
    done: list[str] = []
    notices: list[Notice] = request.state.session.notices
    for record in device.slots.protocols:
        if record not in chosen or record == slot.record or is_account(record):
            continue
        name = slot_names(device.slots.of(record), request.state.language)
        work = partial(device.records.copy_provider, slot.record, record, role=requested_by(request))
        try:
            await run_sync(work)
        except MailError as error:
            notices.append(Notice("error", f"{name}: {error}"))
        else:
            done.append(name)
    if not done:
        return redirect(request, f"/slots/{slot.id}", text(request, "slots", "copied_nowhere"), "warning")
    return redirect(request, f"/slots/{slot.id}", text(request, "slots", "copied", places=", ".join(done)))


def _identity(settings: Settings) -> tuple[object, ...]:
    return settings.authentication, settings.provider, settings.issuer, settings.client_id, settings.account


routes = [Route("/slots/{slot}/copy", copy, methods=["POST"])]

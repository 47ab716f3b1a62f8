"""What the page of a token shows: how the token is, what goes on, the ways to sign in, and what stands in their way."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from anyio.to_thread import run_sync

from mailslot.errors import MailError
from mailslot.slots.effective_settings import mail_service
from mailslot.slots.flows import provider_of
from mailslot.slots.slot import PROTOCOLS
from mailslot_plugins.panel.render import device_of
from mailslot_plugins.panel.slots.place import others, places
from mailslot_plugins.panel.token.application import fields_of, steps_of
from mailslot_plugins.panel.token.deletion import Deletion
from mailslot_plugins.panel.token.outcome import outcome_of
from mailslot_plugins.panel.token.qr_code import qr
from mailslot_plugins.panel.token.retrieval import key_of
from mailslot_plugins.panel.token.sign_in import SignIn
from mailslot_plugins.panel.token.sign_in_methods import SOURCE, registered, sign_in_methods
from mailslot_plugins.panel.token.state import FOLDER, token_state
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import URL
    from starlette.requests import Request

    from mailslot.oauth.providers import Provider
    from mailslot.service.device import Device
    from mailslot.slots.records import Records
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.background import BackgroundTask, BackgroundTasks
    from mailslot_plugins.panel.token.sign_in_methods import SignInMethod

Obstacle = Literal["", "not_oauth", "no_provider", "wrong_tenant", "no_account", "no_application"]


@dataclass(frozen=True, slots=True)
class SignInOptions:
    """How a token can be got for a record.

    Attributes:
        ways: the best one first; none where something stands in the way.
        obstacle: what does; empty for nothing.
        provider: whose token; None where none is set, or tokens come from elsewhere.
        scopes: what is asked for.
        secret_is_set: whether the application's secret is kept here.
    """

    ways: tuple[SignInMethod, ...] = ()
    obstacle: Obstacle = ""
    provider: Provider | None = None
    scopes: tuple[str, ...] = ()
    secret_is_set: bool = False


def sign_in_options(records: Records, record: str, settings: Settings, url: URL) -> SignInOptions:
    """Return how a token can be got. It blocks for a moment.

    Args:
        records: the device's.
        record: which.
        settings: its settings.
        url: by which the panel was asked.
    """
    if settings.authentication != "oauth2":
        return SignInOptions(obstacle="not_oauth")
    if settings.token_source is not None:
        return SignInOptions((SOURCE,))
    try:
        provider = provider_of(settings)
    except MailError:
        return SignInOptions(obstacle="no_provider")
    try:
        provider = provider.at_tenant(settings.tenant)
    except MailError:
        return SignInOptions(obstacle="wrong_tenant")
    secret_is_set, scopes = False, settings.scopes
    # What is wrong with them is told to whoever begins.
    with suppress(MailError):
        secret_is_set = "client_secret" in records.vault.fields(record)
    with suppress(MailError):
        service = mail_service(settings, PROTOCOLS[record])
        scopes = scopes or (provider.scopes(service) if service else ())
    ways = sign_in_methods(provider, settings, url, confidential=secret_is_set)
    obstacle: Obstacle = "" if settings.account else "no_account"
    if settings.client_id is None and not obstacle:
        # A service account brings its own id.
        ways = tuple(way for way in ways if way.flow == "service_account")
        obstacle = "" if ways else "no_application"
    return SignInOptions(() if obstacle else ways, obstacle, provider, scopes, secret_is_set)


async def settings_of(device: Device, slot: Slot) -> Settings:
    """Return the settings of a slot's record."""
    return (await run_sync(device.records.settings.current)).records[slot.record]


def sign_in_of(request: Request, slot: Slot) -> BackgroundTask[SignIn] | None:
    """Return the newest sign-in for a slot's record, whoever began it."""
    work: BackgroundTasks = request.app.state.work
    return work.find(key_of(slot.record), SignIn)


def deletion_of(request: Request, slot: Slot) -> BackgroundTask[Deletion] | None:
    """Return the deletion of a slot's token that was begun last; None where a sign-in was begun since."""
    work: BackgroundTasks = request.app.state.work
    return work.find(key_of(slot.record), Deletion)


async def view(request: Request, slot: Slot, **more: object) -> dict[str, Any]:
    """Return what the page is filled with.

    Args:
        request: what is answered.
        slot: whose token.
        more: what is shown besides, in the place of the same.
    """
    device = device_of(request)
    state = await token_state(device, slot.record)
    settings = state.settings
    open_ = await run_sync(sign_in_options, device.records, slot.record, settings, request.url)
    language: str = request.state.language
    deletion = deletion_of(request, slot)
    return {
        "slot": slot,
        "others": places(others(slot), language),
        "state": state,
        "account": settings.account,
        "openings": open_,
        "deletion": deletion.about if deletion is not None and deletion.about.is_recent else None,
        "deleting": deletion is not None and deletion.running,
        **progress(request, slot),
        "provider": open_.provider,
        **({} if open_.provider is None else _registration(open_.provider, settings, request)),
        "faults": {},
        **more,
    }


def progress(request: Request, slot: Slot) -> dict[str, Any]:
    """Return what there is to show of the sign-in that this browser began, and of one that another has begun."""
    piece = sign_in_of(request, slot)
    sign_in = None if piece is None else piece.about
    mine = sign_in is not None and sign_in.is_of(request.state.session) and sign_in.is_recent
    running = piece is not None and piece.running
    if sign_in is None or not mine:
        return {"slot": slot, "sign_in": None, "running": False, "elsewhere": running}
    code = sign_in.code
    return {
        "slot": slot,
        "sign_in": sign_in,
        "running": running,
        "elsewhere": False,
        "outcome": outcome_of(sign_in, request.state.language) if sign_in.step == "failed" else None,
        "qr": "" if code is None else qr(code.verification_uri_complete or code.verification_uri),
    }


def _registration(provider: Provider, settings: Settings, request: Request) -> Mapping[str, object]:
    own = translate(FOLDER, "own_provider", request.state.language)
    return {
        "provider_name": own if provider.id == "custom" else provider.name,
        "steps": steps_of(provider.registration),
        "redirects": registered(
            provider, request.url, redirect_uri=settings.redirect_uri, redirect_port=settings.redirect_port
        ),
        "fields": fields_of(provider),
        "values": {
            "client_id": settings.client_id,
            "tenant": settings.tenant,
            "scopes": " ".join(settings.scopes),
        },
    }

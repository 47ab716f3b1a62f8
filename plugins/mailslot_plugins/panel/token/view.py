"""The context of the token page: the token, the running task, the sign-in methods, and obstacles to signing in."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from anyio.to_thread import run_sync

from mailslot.errors import MailError
from mailslot.oauth.token_errors import flows_blocked_by
from mailslot.slots.effective_settings import mail_service
from mailslot.slots.flows import provider_of
from mailslot.slots.settings import protocol_of
from mailslot.slots.shared_application import shared_application
from mailslot_plugins.panel.background import tasks_of
from mailslot_plugins.panel.connection_test.page import test_context
from mailslot_plugins.panel.render import device_of
from mailslot_plugins.panel.slots.menu import sharing_slots
from mailslot_plugins.panel.slots.names import slot_names
from mailslot_plugins.panel.token.application import fields_of, steps_of
from mailslot_plugins.panel.token.deletion import Deletion
from mailslot_plugins.panel.token.failure import failure_of
from mailslot_plugins.panel.token.qr_code import qr
from mailslot_plugins.panel.token.registration import registration_text
from mailslot_plugins.panel.token.retrieval import task_key
from mailslot_plugins.panel.token.sign_in import SignIn
from mailslot_plugins.panel.token.sign_in_methods import SOURCE, redirect_uris, sign_in_methods
from mailslot_plugins.panel.token.state import FOLDER, token_state
from mailslot_plugins.panel.translations import translate

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from starlette.datastructures import URL
    from starlette.requests import Request

    from mailslot.oauth.providers import Provider
    from mailslot.service.device import Device
    from mailslot.slots.records import Records
    from mailslot.slots.settings import Settings
    from mailslot.slots.slot import Slot
    from mailslot_plugins.panel.background import BackgroundTask
    from mailslot_plugins.panel.token.sign_in_methods import SignInMethod
    from mailslot_plugins.panel.token.state import TokenState

Obstacle = Literal["", "not_oauth", "no_provider", "no_issuer", "wrong_tenant", "no_account", "no_application"]

_SETTINGS: Final[Mapping[Obstacle, str]] = {
    "not_oauth": "authentication",
    "no_provider": "provider",
    "no_issuer": "issuer",
    "wrong_tenant": "tenant",
    "no_account": "account",
}
"""The setting that removes each obstacle; an application is registered on the page itself."""


@dataclass(frozen=True, slots=True)
class SignInOptions:
    """How to get a token for a record.

    Attributes:
        methods: the methods, the best one first; empty if there is an obstacle.
        obstacle: why nobody can sign in; empty if there is none.
        provider: the provider; None if none is set, or if there is a token source.
        scopes: the scopes to request.
        secret_is_set: whether the application's secret is stored.
        device_is_blocked: whether the method with a code is left out, since the organisation has blocked it.
    """

    methods: tuple[SignInMethod, ...] = ()
    obstacle: Obstacle = ""
    provider: Provider | None = None
    scopes: tuple[str, ...] = ()
    secret_is_set: bool = False
    device_is_blocked: bool = False

    @property
    def missing_setting(self) -> str:
        """The setting that removes the obstacle; empty if there is none."""
        return _SETTINGS.get(self.obstacle, "")


def sign_in_options(
    records: Records, record: str, settings: Settings, url: URL, blocked: Collection[str] = ()
) -> SignInOptions:
    """Return how to get a token. Blocks for a moment.

    Args:
        records: the records.
        record: the name of the record.
        settings: its settings.
        url: the URL of the request to the panel.
        blocked: flows that the organisation has blocked; see `blocked_flows`.
    """
    if settings.authentication != "oauth2":
        return SignInOptions(obstacle="not_oauth")
    if settings.token_source is not None:
        return SignInOptions((SOURCE,))
    shared = None
    with suppress(MailError):
        shared = shared_application(records.vault, settings)
    if shared is not None:
        settings = shared.applied(settings)
    try:
        provider = provider_of(settings)
    except MailError:
        return SignInOptions(obstacle="no_issuer" if settings.provider == "custom" else "no_provider")
    try:
        provider = provider.at_tenant(settings.tenant)
    except MailError:
        return SignInOptions(obstacle="wrong_tenant")
    secret_is_set, scopes = False, settings.scopes
    # Errors are reported when a sign-in starts.
    with suppress(MailError):
        secret_is_set = "client_secret" in records.vault.fields(record)
    with suppress(MailError):
        service = mail_service(settings, protocol_of(record, settings))
        scopes = scopes or (provider.scopes(service) if service else ())
    confidential = secret_is_set or (shared is not None and shared.client_secret is not None)
    methods = sign_in_methods(provider, settings, url, confidential=confidential, blocked=blocked)
    obstacle: Obstacle = "" if settings.account else "no_account"
    if settings.client_id is None and not obstacle:
        # A service account's key contains its id.
        methods = tuple(method for method in methods if method.flow == "service_account")
        obstacle = "" if methods else "no_application"
    return SignInOptions(
        () if obstacle else methods,
        obstacle,
        provider,
        scopes,
        secret_is_set,
        device_is_blocked="device" in provider.flows and "device" in blocked,
    )


async def settings_of(device: Device, slot: Slot) -> Settings:
    """Return the settings of a slot's record."""
    return (await run_sync(device.records.settings.current)).records[slot.record]


def sign_in_of(request: Request, slot: Slot) -> BackgroundTask[SignIn] | None:
    """Return the newest sign-in for a slot's record, from any browser."""
    return tasks_of(request.app.state).find(task_key(slot.record), SignIn)


def blocked_flows(request: Request, slot: Slot, state: TokenState) -> frozenset[str]:
    """Return the flows that the organisation has blocked, as the last refresh or a recent sign-in has shown.

    Args:
        request: the request.
        slot: the slot.
        state: the state of its token.
    """
    task = sign_in_of(request, slot)
    error = task.subject.error if task is not None and task.subject.is_recent else None
    found = frozenset[str]() if state.health is None else state.health.blocked_flows
    return found if error is None else found | flows_blocked_by(error.cause)


def deletion_of(request: Request, slot: Slot) -> BackgroundTask[Deletion] | None:
    """Return the newest deletion of a slot's token; None if a sign-in was started since."""
    return tasks_of(request.app.state).find(task_key(slot.record), Deletion)


async def page_context(request: Request, slot: Slot, **more: object) -> dict[str, Any]:
    """Return the context of the page.

    Args:
        request: the request.
        slot: the slot.
        more: additional or replaced values.
    """
    device = device_of(request)
    running = [task for task in (sign_in_of(request, slot), deletion_of(request, slot)) if task and task.running]
    state = await token_state(device, slot.record)
    settings = state.settings
    blocked = blocked_flows(request, slot, state)
    options = await run_sync(sign_in_options, device.records, slot.record, settings, request.url, blocked)
    if not all(task.running for task in running):
        # What was read may be older than the result of the task that has ended since.
        return await page_context(request, slot, **more)
    language: str = request.state.language
    deletion = deletion_of(request, slot)
    progress = progress_context(request, slot)
    return {
        "slot": slot,
        "others": slot_names(sharing_slots(slot), language),
        "state": state,
        "account": settings.account,
        "options": options,
        "deletion": deletion.subject if deletion is not None and deletion.subject.is_recent else None,
        "deleting": deletion is not None and deletion.running,
        **progress,
        "test": await test_context(request, slot) if _is_done(progress["sign_in"]) else None,
        "provider": options.provider,
        **({} if options.provider is None else _registration(options.provider, settings, request)),
        "faults": {},
        **more,
    }


def progress_context(request: Request, slot: Slot) -> dict[str, Any]:
    """Return the context for this browser's sign-in, and whether one is running in another browser."""
    task = sign_in_of(request, slot)
    sign_in = None if task is None else task.subject
    is_own = sign_in is not None and sign_in.is_of(request.state.session) and sign_in.is_recent
    running = task is not None and task.running
    if sign_in is None or not is_own:
        return {"slot": slot, "sign_in": None, "running": False, "elsewhere": running}
    code = sign_in.code
    return {
        "slot": slot,
        "sign_in": sign_in,
        "running": running,
        "elsewhere": False,
        "failure": failure_of(sign_in, request.state.language) if sign_in.step == "failed" else None,
        "qr": "" if code is None else qr(code.verification_uri_complete or code.verification_uri),
    }


def _is_done(sign_in: SignIn | None) -> bool:
    return sign_in is not None and sign_in.step == "done"


def _registration(provider: Provider, settings: Settings, request: Request) -> Mapping[str, object]:
    language: str = request.state.language
    own = translate(FOLDER, "own_provider", language)
    return {
        "provider_name": own if provider.id == "custom" else provider.name,
        "steps": steps_of(registration_text(provider, language), translate(FOLDER, "enter_below", language)),
        "redirects": redirect_uris(
            provider, request.url, redirect_uri=settings.redirect_uri, redirect_port=settings.redirect_port
        ),
        "fields": fields_of(provider),
        "values": {
            "client_id": settings.client_id,
            "tenant": settings.tenant,
            "scopes": " ".join(settings.scopes),
        },
    }

"""Rendering the pages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import HTMLResponse

from mailslot.errors import InputError, MailError
from mailslot.fleet.postgres.errors import DatabaseError
from mailslot.service.log import describe_error
from mailslot.slots.flows import provider_of
from mailslot.slots.records import Records
from mailslot.slots.section import DEVICE
from mailslot.slots.settings import protocol_of
from mailslot_plugins.panel.explanations import explanation_of
from mailslot_plugins.panel.render import environment
from mailslot_plugins.panel.sentences import translated
from mailslot_plugins.panel.translations import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from mailslot.fleet.postgres.database import DeviceId
    from mailslot.fleet.postgres.sign_in_links import SignInLink
    from mailslot_plugins.panel.consent.fleet import ConsentFleet

FOLDER: Final = "consent"

logger = logging.getLogger(__name__)


def render_page(request: Request, template: str, status: int = 200, **context: Any) -> Response:  # noqa: ANN401 - anything
    """Return a page.

    Args:
        request: the request.
        template: such as ``"consent/link.html"``.
        status: the HTTP status.
        context: the variables of the template.
    """
    page = environment().get_template(template)
    shown = {"request": request, "folder": FOLDER, "language": request.state.language, "languages": LANGUAGES}
    return HTMLResponse(page.render({**shown, **context}), status, {"cache-control": "no-store"})


def error_page(request: Request, key: str, status: int, sentence: str = "") -> Response:
    """Return the page that says why the link cannot be used: a text of this folder, or a sentence."""
    return render_page(request, "consent/error.html", status, key=key, sentence=sentence)


def link_facts(fleet: ConsentFleet, device: DeviceId, link: SignInLink, language: str) -> dict[str, Any]:
    """Return the facts of a link's page about the device and its records. It blocks.

    Raises:
        MailError: the settings cannot be read.
    """
    records = Records(fleet.homes.open(device))
    settings = records.settings.load()
    identity = records.settings.section(DEVICE)
    slots = records.settings.slots()
    found: list[dict[str, Any]] = []
    provider = ""
    for record in link.records:
        if record not in settings:
            raise InputError(f"{device} has no {record} any more.", stage="token")
        provider = provider or provider_of(settings[record]).name
        found.append(
            {
                "slot": slots.of(record)[0],
                "sends": protocol_of(record, settings[record]) == "SMTP",
                "granted": link.granted.get(record),
            }
        )
    failure = None
    if link.cause is not None:
        failure = explanation_of(link.cause, language, sentence=link.sentence)
    return {
        "device_name": identity["name"] or "",
        "location": identity["location"] or "",
        "provider": provider,
        "records": found,
        "failure": failure,
    }


def guarded(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that shows its errors as a page, also in an application without error handlers."""

    async def call(request: Request) -> Response:
        chosen = request.query_params.get("language", "")
        if chosen in LANGUAGES:
            request.state.language = chosen
        try:
            return await endpoint(request)
        except MailError as error:
            logger.warning("A page for a mailbox's owner has failed: %s", error, extra={"cause": error.cause})
            if isinstance(error.__cause__, DatabaseError):
                # Anybody may open this page, and the database's message is only for the operator.
                return error_page(request, "trouble_other", 503)
            return error_page(request, "", 503, translated(str(error), request.state.language))
        except Exception as error:  # noqa: BLE001 - the text of any other error may quote a secret
            logger.error("A page for a mailbox's owner has failed: %s", describe_error(error))  # noqa: TRY400 - see above
            return error_page(request, "trouble_other", 500)

    return call

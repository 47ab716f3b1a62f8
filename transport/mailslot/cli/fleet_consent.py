"""``mailslot fleet application`` and ``mailslot fleet consent``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from mailslot.cli.console import make_console, print_error, print_json
from mailslot.cli.fleet_database import fleet_homes
from mailslot.cli.fleet_options import Json, TenantName
from mailslot.cli.home import read_values
from mailslot.cli.listing import print_listing
from mailslot.errors import InputError, MailError
from mailslot.fleet.address import check_name
from mailslot.slots.keys import parse_value
from mailslot.slots.settings import KEYS
from mailslot.timestamps import iso
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from mailslot.fleet.consent import ApplicationCheck, ConsentRequest, TenantConsent
    from mailslot.fleet.postgres.consents import Consents, StoredConsent
    from mailslot.slots.shared_application import SharedApplication

_SETTINGS = ("provider", "client_id", "tenant", "issuer", "token_endpoint")
_SECRET = "client_secret"  # noqa: S105 - its name

ProviderName = Annotated[
    str | None, typer.Option("--provider", help="The provider, if the tenant has applications for several.")
]


def application(
    context: typer.Context,
    tenant: TenantName,
    assignments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]…",
            help="provider, client_id, tenant, issuer, token_endpoint, client_secret; KEY=- reads standard input.",
        ),
    ] = None,
    *,
    remove: Annotated[
        str | None, typer.Option(metavar="PROVIDER", help="Remove the application for this provider.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Store the application that all devices of a tenant share, or show it.

    It is registered with the provider once. A slot of any device uses it if its settings have the same provider and
    no client_id. With a secret or a certificate, devices can sign in as the application: set their flow to app.

    client_secret may be a text, or a private key with its certificate in PEM.

    Examples:
        mailslot fleet application acme provider=microsoft365 client_id=… tenant=acme.onmicrosoft.com
        mailslot fleet application acme provider=microsoft365 client_id=… tenant=… client_secret=- < key.pem
        mailslot fleet application acme
        mailslot fleet application acme --remove microsoft365
    """
    check_name(tenant)
    consents = _consents(context)
    said: str | None = None
    if remove is not None:
        _tenant_consent(context, consents, tenant, remove).set_application(None)
        said = f"The application of {tenant} for {remove} is removed."
    elif assignments:
        found = _application(assignments)
        _tenant_consent(context, consents, tenant, found.provider).set_application(found)
        said = f"All devices of {tenant} use this application for {found.provider}."
    if as_json or said is None:
        _show(context, consents, tenant, as_json=as_json)
    else:
        make_console().print(said, highlight=False)
    if remove is None and any(
        each.startswith(f"{_SECRET}=") and each not in {f"{_SECRET}=", f"{_SECRET}=-"} for each in assignments or ()
    ):
        print_error(
            f"{_SECRET}: the shell remembers what was typed, and other users can see it in the list of processes. "
            f"Better: {_SECRET}=-, which asks for it or reads standard input."
        )


def consent(
    context: typer.Context,
    tenant: TenantName,
    *,
    provider: ProviderName = None,
    people: Annotated[
        bool, typer.Option("--people", help="Ask for what people who sign in may allow, not for the application's own.")
    ] = False,
    redirect: Annotated[
        str | None, typer.Option("--redirect", metavar="URL", help="Where the answer goes, as it is registered.")
    ] = None,
    answer: Annotated[
        str | None, typer.Option("--answer", metavar="URL", help="The address at which the browser was at the end.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Get a token for the application, and say what it allows.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the address at which an administrator consents for the whole organisation, or process the answer.

    Examples:
        mailslot fleet consent acme
        mailslot fleet consent acme --people
        mailslot fleet consent acme --answer 'http://localhost/?admin_consent=True&tenant=…&state=…'
        mailslot fleet consent acme --check
    """
    check_name(tenant)
    consents = _consents(context)
    if answer is not None:
        _take(consents, tenant, answer, as_json=as_json)
        return
    chosen = provider or _only_provider(consents, tenant)
    found = _tenant_consent(context, consents, tenant, chosen)
    if check:
        _check(found, tenant, as_json=as_json)
        return
    request = found.ask(people=people, redirect_uri=redirect)
    if as_json:
        print_json(
            {
                "tenant": tenant,
                "provider": chosen,
                "address": request.address,
                "opened_by": request.opened_by,
                "scopes": [*request.scopes],
                "as_application": request.app,
                "answer_at": request.answer_at,
            }
        )
        return
    _explain(tenant, request)


def _explain(tenant: str, request: ConsentRequest) -> None:
    console = make_console(soft_wrap=True)
    console.print(request.address, highlight=False, markup=False)
    lines = [f"This address is to be opened by {request.opened_by}. It asks for: {' '.join(request.scopes)}."]
    if request.answer_at is None:
        lines.append(
            f"The page does not say here what was done; see afterwards: mailslot fleet consent {tenant} --check"
        )
    elif request.answer_at.startswith("http://"):
        lines.append(
            f"At the end the browser finds nothing at {request.answer_at}. Copy the whole address from there, and run: "
            f"mailslot fleet consent {tenant} --answer 'ADDRESS'"
        )
    else:
        lines.append(
            f"The answer comes to {request.answer_at}, which has to be registered as a redirect URI of the application."
        )
    for line in lines:
        console.print(escape(line), highlight=False)


def _take(consents: Consents, tenant: str, address: str, *, as_json: bool) -> None:
    from mailslot.oauth.admin_consent import parse_answer  # noqa: PLC0415 - most commands need no token service

    answer = parse_answer(address)
    known = consents.note_answer(answer) if answer.state else None
    if known is None or known.tenant != tenant:
        raise InputError(
            f"This answer belongs to no address that was made last for {tenant}: run mailslot fleet consent {tenant}, "
            "and use the new address.",
            stage="token",
        )
    if as_json:
        print_json(_document(known))
    if answer.error is not None:
        raise answer.error
    if not as_json:
        where = known.directory or tenant
        make_console().print(f"Consent was given for the organisation {where}.", highlight=False, soft_wrap=True)


def _check(found: TenantConsent, tenant: str, *, as_json: bool) -> None:
    import anyio  # noqa: PLC0415 - only this waits for the network

    from mailslot.oauth.http import TokenHttp  # noqa: PLC0415 - as above

    async def run() -> ApplicationCheck:
        async with TokenHttp() as http:
            return await found.check(http)

    checked = anyio.run(run)
    if as_json:
        print_json({"tenant": tenant, "roles": [*checked.roles], "missing": [*checked.missing.values()]})
    if checked.missing:
        raise MailError(
            f"The application gets tokens, but has not been given {' and '.join(checked.missing.values())}.",
            stage="token",
            cause="consent_missing",
            retryable=False,
        )
    if not as_json:
        roles = f" with {' and '.join(checked.roles)}" if checked.roles else ""
        make_console().print(f"The application of {tenant} gets tokens{roles}.", highlight=False, soft_wrap=True)


def _show(context: typer.Context, consents: Consents, tenant: str, *, as_json: bool) -> None:
    documents: list[dict[str, Any]] = []
    for provider in consents.shared(tenant):
        found = _tenant_consent(context, consents, tenant, provider).application()
        known = consents.find(tenant, provider)
        documents.append(
            {
                "provider": provider,
                **{key: None if found is None else getattr(found, key) or None for key in _SETTINGS[1:]},
                "client_secret": found is not None and found.client_secret is not None,
                "consent": None if known is None else _document(known),
            }
        )
    if as_json:
        print_json(documents)
        return
    if not documents:
        make_console().print(f"{tenant} has no application of its own.", highlight=False)
        return
    cells = [
        [
            escape(each["provider"]),
            escape(each["client_id"] or ""),
            escape(each["tenant"] or each["issuer"] or ""),
            "set" if each["client_secret"] else "none",
            _consent_text(each["consent"]),
        ]
        for each in documents
    ]
    headings = ("Provider", "Client ID", "Organisation", "Secret", "Consent")
    print_listing(make_console(), headings, cells, wrapped={"Organisation", "Consent"})


def _consent_text(known: dict[str, Any] | None) -> str:
    if known is None:
        return "not asked for"
    if known["granted"] is None:
        return f"asked for at {known['asked_at']}"
    return f"given at {known['answered_at']}" if known["granted"] else escape(f"not given: {known['sentence']}")


def _document(known: StoredConsent) -> dict[str, Any]:
    return {
        "tenant": known.tenant,
        "provider": known.provider,
        "asked_at": iso(known.asked_at),
        "answered_at": None if known.answered_at is None else iso(known.answered_at),
        "granted": known.granted,
        "directory": known.directory,
        "cause": known.cause,
        "sentence": known.sentence,
    }


def _application(assignments: list[str]) -> SharedApplication:
    from mailslot.slots.shared_application import CUSTOM, SharedApplication  # noqa: PLC0415 - cryptography is slow

    pairs = [each.partition("=") for each in assignments]
    for key, equals, _ in pairs:
        if not equals or key not in {*_SETTINGS, _SECRET}:
            raise typer.BadParameter(f"{key!r} is none of {', '.join((*_SETTINGS, _SECRET))}", param_hint="KEY=VALUE")
    texts = dict(zip([key for key, _, _ in pairs], read_values([text for _, _, text in pairs]), strict=True))
    known = {key: KEYS[key] for key in _SETTINGS}
    values = {key: parse_value(known, key, text) for key, text in texts.items() if key != _SECRET and text}
    if "provider" not in values:
        raise typer.BadParameter("the provider is missing: provider=microsoft365", param_hint="KEY=VALUE")
    if values["provider"] == CUSTOM and not {"issuer", "token_endpoint"} & values.keys():
        raise typer.BadParameter("a provider of your own needs its issuer, or its token_endpoint")
    secret = texts.get(_SECRET)
    return SharedApplication(**values, client_secret=Secret(secret) if secret else None)


def _only_provider(consents: Consents, tenant: str) -> str:
    found = consents.shared(tenant)
    if len(found) == 1:
        return found[0]
    if found:
        raise typer.BadParameter(f"{tenant} has applications for {' and '.join(found)}", param_hint="--provider")
    raise InputError(
        f"{tenant} has no application of its own: set it by mailslot fleet application {tenant} provider=… client_id=…",
        stage="token",
    )


def _consents(context: typer.Context) -> Consents:
    homes = fleet_homes(context)
    from mailslot.fleet.postgres.consents import Consents  # noqa: PLC0415 - it needs the extra

    return Consents(homes.database)


def _tenant_consent(context: typer.Context, consents: Consents, tenant: str, provider: str) -> TenantConsent:
    from mailslot.fleet.consent import TenantConsent  # noqa: PLC0415 - it needs the extra

    return TenantConsent(fleet_homes(context), consents, tenant, provider)

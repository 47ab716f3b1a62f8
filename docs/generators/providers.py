"""The facts about providers, from ``providers.toml``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generators.tables import code, table
from mailslot.oauth.presets import preset, presets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailslot.oauth.providers import Provider, Service


def facts(name: str) -> str:
    """Return the facts about a provider in Markdown.

    Args:
        name: its id.
    """
    return table(("", ""), _facts(preset(name)))


def all_providers() -> str:
    """Return all providers as a table in Markdown."""
    rows = [
        (code(found.id), found.name, ", ".join(map(code, found.aliases)), _flows(found)) for found in presets().values()
    ]
    return table(("`provider=`", "", "also called", "ways to sign in"), rows)


def _flows(found: Provider) -> str:
    return ", ".join("`app` (a service account)" if flow == "service_account" else code(flow) for flow in found.flows)


def _facts(found: Provider) -> Iterator[tuple[str, str]]:
    yield "`provider=`", ", ".join(map(code, (found.id, *found.aliases)))
    yield "Ways to sign in, the best first", _flows(found)
    for name, service in (("SMTP", found.smtp), ("POP3", found.pop), ("IMAP", found.imap)):
        if service is None:
            continue
        yield f"{name} server", ", ".join(code(str(each)) for each in service.servers)
        yield f"{name}, permissions (scopes)", _scopes(service)
    if found.limits.message_octets:
        yield "Largest message", f"{found.limits.message_octets:,} octets"
    if found.limits.messages_per_minute:
        yield "Messages a minute", f"{found.limits.messages_per_minute:,}"
    if found.limits.messages_per_day:
        yield "Messages a day", f"{found.limits.messages_per_day:,}"
    if found.limits.recipients_per_day:
        yield "Recipients a day", f"{found.limits.recipients_per_day:,}"
    if found.limits.connections:
        yield "Connections at once", f"{found.limits.connections:,}"
    if found.quirks.disuse_days:
        yield "A sign-in that nobody uses ends after", f"{found.quirks.disuse_days} days"
    if found.quirks.testing_days:
        yield "One of an application in Testing ends after", f"{found.quirks.testing_days} days"


def _scopes(service: Service) -> str:
    person = " ".join(map(code, service.scopes))
    if not service.app_scopes:
        return person
    roles = f" with {' or '.join(map(code, service.app_roles))}" if service.app_roles else ""
    return f"{person}; without a person {' '.join(map(code, service.app_scopes))}{roles}"

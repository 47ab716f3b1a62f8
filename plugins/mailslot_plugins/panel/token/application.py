"""How an application is registered with a provider, taken apart so that a page can show it, and what to enter here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mailslot.errors import InputError
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.oauth.providers import Provider
    from mailslot.slots.records import ChangeResult, Records

_NUMBERED: Final = re.compile(r"\d+\. (.*)")
_LETTERED: Final = re.compile(r"[a-z]\. (.*)")
_OURS: Final = "mailslot set"
"""How a command begins in whose place a page has fields."""

_COMMAND: Final = 5
"""Blanks that a command has more than the number of its step; further lines of the step have fewer."""


@dataclass(slots=True)
class Step:
    """One thing to do.

    Attributes:
        text: what.
        commands: to be run for it, as they are.
        steps: what it is made up of.
    """

    text: str
    commands: list[str] = field(default_factory=list[str])
    steps: list[Step] = field(default_factory=list["Step"])


def steps_of(registration: str) -> tuple[Step, ...]:
    """Return what `mailslot.oauth.providers.Provider.registration` says, step by step.

    Commands of our own are left out: whoever reads this has fields for them.
    """
    found: list[Step] = []
    last, begins = Step(""), 0
    for line in filter(None, registration.splitlines()):
        text = line.strip()
        depth = len(line) - len(line.lstrip())
        numbered = _NUMBERED.fullmatch(text) if depth == 0 else None
        lettered = _LETTERED.fullmatch(text) if found and 0 < depth < _COMMAND else None
        if numbered or not found:
            last, begins = Step(numbered[1] if numbered else text), depth
            found.append(last)
        elif lettered:
            last, begins = Step(lettered[1]), depth
            found[-1].steps.append(last)
        elif depth < begins + _COMMAND:
            last.text = f"{last.text} {text}"
        elif text.startswith(_OURS):
            last.text = f"{last.text} enter that below."
        else:
            last.commands.append(text)
    return tuple(found)


def fields_of(provider: Provider) -> tuple[str, ...]:
    """Return the settings of an application that a provider wants, without its secret."""
    return (
        "client_id",
        *(["tenant"] if provider.tenant is not None else []),
        *(["scopes"] if provider.id == "custom" else []),
    )


def save(records: Records, record: str, provider: Provider, form: Mapping[str, str]) -> ChangeResult:
    """Keep what was entered of an application; a secret that was left empty stays as it is. It blocks for a moment.

    Args:
        records: the device's.
        record: which.
        provider: whose application it is.
        form: what was entered.

    Raises:
        InputError: it cannot be used; `InputError.key` says which.
        MailError: the vault cannot be written.
    """
    values = {name: form.get(name, "").strip() or None for name in fields_of(provider)}
    if values["client_id"] is None:
        raise InputError("The application's id is missing.", stage="token", key="client_id")
    try:
        provider.at_tenant(values.get("tenant"))
    except InputError as error:
        raise InputError(str(error), stage="token", key="tenant") from error
    entered = form.get("client_secret", "").strip()
    secrets: dict[str, Secret | None] = {"client_secret": Secret(entered)} if entered else {}
    if "forget_secret" in form:
        secrets = {"client_secret": None}
    return records.change(record, values, secrets, role="administrator")

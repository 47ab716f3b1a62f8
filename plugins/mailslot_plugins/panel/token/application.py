"""The registration of an application: the provider's instructions as steps, and the settings that result from it."""

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
"""The start of commands that are replaced by fields on the page."""

_COMMAND: Final = 5
"""The indentation of a command relative to the number of its step; further lines of a step have less."""


@dataclass(slots=True)
class Step:
    """One step."""

    text: str
    commands: list[str] = field(default_factory=list[str])
    steps: list[Step] = field(default_factory=list["Step"])


def steps_of(registration: str, enter_below: str = "enter that below.") -> tuple[Step, ...]:
    """Return the steps in the text of `mailslot.oauth.providers.Provider.registration`.

    Our own commands are left out, since the page has fields for them.

    Args:
        registration: the text.
        enter_below: the end of a sentence that replaces a command.
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
            last.text = f"{last.text} {enter_below}"
        else:
            last.commands.append(text)
    return tuple(found)


def fields_of(provider: Provider) -> tuple[str, ...]:
    """Return the settings that a provider requires for an application, without its secret."""
    return (
        "client_id",
        *(["tenant"] if provider.tenant is not None else []),
        *(["scopes"] if provider.id == "custom" else []),
    )


def save(records: Records, record: str, provider: Provider, form: Mapping[str, str]) -> ChangeResult:
    """Save the settings of an application; an empty secret is unchanged. Blocks for a moment.

    Args:
        records: the records.
        record: the name of the record.
        provider: the provider.
        form: the submitted form.

    Raises:
        InputError: a value cannot be used; `InputError.key` says which.
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

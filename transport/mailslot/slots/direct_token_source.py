"""Token sources that are named in the settings, such as a program or a file."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from mailslot.entry_points import describe_error_location
from mailslot.errors import InputError, MailError
from mailslot.exit_guard import ExitGuard, original_error
from mailslot.oauth.flow import Flow
from mailslot.sasl.credentials import TokenSource
from mailslot.slots.flows import TOKEN_SOURCES
from mailslot.slots.oauth_client import client_for_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.slots.settings import Settings
    from mailslot.vault.vault import Vault


def direct_token_source(vault: Vault, record: str, settings: Settings) -> TokenSource | None:
    """Return the token source that the settings name; None if they name none. It blocks: call it in a thread.

    ``token_source`` is ``command PROGRAM ARGUMENT…``, ``file PATH``, or the name of a plugin and its argument. The
    plugin's function is called with a mapping, in which the plugin's name is the key of that argument. It also
    contains:

    - ``client``: a function with the arguments ``app`` and ``registered`` that returns the record's `OAuthClient`
      (`mailslot.slots.oauth_client.client_for_record`);
    - ``secret``: a function that returns the record's ``client_secret`` as a `Secret`, or None if it is not set;
    - ``ca_file`` and ``timeout``: the settings of these names.

    Raises:
        InputError: there is no such source, it rejects its argument, or it failed with an unexpected exception.
    """
    if settings.token_source is None:
        return None
    name, _, argument = settings.token_source.partition(" ")
    found = TOKEN_SOURCES.find(name)
    if isinstance(found, Flow):
        raise InputError(f"{name} is a way to sign in: set flow, not token_source.", stage="token")
    make = cast("Callable[[Mapping[str, object]], object]", found)
    options = {
        "client": partial(client_for_record, vault, record, settings),
        "secret": partial(vault.read, record, "client_secret"),
        "ca_file": settings.ca_file,
        "timeout": float(settings.timeout),
        {"file": "path"}.get(name, name): argument.strip(),
    }
    try:
        with ExitGuard():
            made = make(options)
    except MailError:
        raise
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        raise InputError(
            f"The token source {name} failed at its settings: it has an error of its own.",
            stage="token",
            cause="token_source_failed",
            detail=describe_error_location(original_error(error)),
        ) from None
    if not isinstance(made, TokenSource) or isinstance(made, type):
        kind = f"the class {made.__name__}" if isinstance(made, type) else f"a {type(made).__name__}"
        raise InputError(
            f"The token source {name} made {kind}, and no object with token() and forget().",
            stage="token",
            cause="token_source_failed",
        )
    return made

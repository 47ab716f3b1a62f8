"""The password of the directory's user, in the vault.

It is stored with the destination that it was entered for, and never sent to another server or as another user.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, cast

from mailslot.errors import InputError
from mailslot.wire.secret import Secret
from mailslot_plugins.addressbook.directory.directory_error import DirectoryError
from mailslot_plugins.addressbook.directory.errors import no_password_error

if TYPE_CHECKING:
    from mailslot.vault.vault import Vault
    from mailslot_plugins.addressbook.directory.source import Source

_RECORD: Final = "addressbook"
_FIELD: Final = "ldap_password"
_MAX_LENGTH: Final = 1024


def store_password(vault: Vault, source: Source | None, password: Secret | None) -> None:
    """Store the password, or remove it. It blocks for a moment.

    Args:
        vault: the secrets of the device.
        source: the directory.
        password: the password; None to remove it.

    Raises:
        InputError: it is not a valid password, or no user is set.
        MailError: the vault cannot be written.
    """
    if password is None:
        vault.write(_RECORD, {_FIELD: None})
        return
    if source is None or not source.user:
        raise InputError(
            "First set the directory and its user. "
            "mailslot set addressbook ldap_server=HOST ldap_base=DN ldap_user=NAME",
            stage="sign_in",
            cause="not_configured",
            key="ldap_user",
        )
    text = password.reveal()
    if not 1 <= len(text) <= _MAX_LENGTH or not text.isprintable():
        raise InputError(
            f"A password of a directory has 1 to {_MAX_LENGTH} characters, none of which is a line break or another "
            "control character.",
            stage="sign_in",
            key="password",
        )
    vault.write(_RECORD, {_FIELD: Secret(json.dumps({"for": source.destination, "password": text}))})


def read_password(vault: Vault, source: Source) -> Secret | None:
    """Return the password; None if no user is set. It blocks for a moment.

    Raises:
        DirectoryError: none is stored for this directory and its user.
        MailError: the vault cannot be read.
    """
    if not source.user:
        return None
    stored = vault.read(_RECORD, _FIELD)
    document = cast("dict[str, str]", json.loads("{}" if stored is None else stored.reveal()))
    if document.get("for") != source.destination:
        raise no_password_error(source)
    return Secret(document["password"])


def has_password(vault: Vault, source: Source) -> bool:
    """Whether a password is stored for this directory and its user. It blocks for a moment.

    Raises:
        MailError: the vault cannot be read.
    """
    try:
        return read_password(vault, source) is not None
    except DirectoryError:
        return False

"""Checks of secrets and certificate files at the moment they are set; a wrong one would otherwise only fail later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailslot.errors import InputError
from mailslot.net.tls import context_trusting
from mailslot.slots.settings import SECRETS

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.wire.secret import Secret


def check_secret(name: str, secret: Secret | None) -> None:
    """Check the value of a secret.

    Raises:
        InputError: there is no secret of this name; or the value is empty, not text, or has characters that no server
            accepts.
    """
    if name not in SECRETS:
        raise InputError(f"There is no secret {name!r}; there are {' and '.join(SECRETS)}.", stage="resolve")
    text = None if secret is None else secret.reveal()
    if text == "":
        raise InputError(f"The {name} is empty: {name}= removes the one that is set.", stage="resolve", key=name)
    if text is not None and any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(f"The {name} is not text in the terminal's encoding.", stage="resolve", key=name)
    # A client's secret may be a file of several lines.
    if text is not None and ("\0" in text or (name == "password" and {"\r", "\n"} & set(text))):
        raise InputError(f"The {name} holds a line break or a NUL, which no server takes.", stage="resolve", key=name)


def check_ca_file(ca_file: Path | None) -> None:
    """Check that a file of certificate authorities can be used.

    Raises:
        InputError: it is not a regular file, cannot be read, or contains no certificate.
    """
    if ca_file is not None:
        try:
            context_trusting(ca_file, stage="resolve", cause="invalid_input")
        except InputError as error:
            error.key = "ca_file"
            raise

"""Who may print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailslot_plugins.intake.authentication_results import why_not_genuine
from mailslot_plugins.intake.auto_reply_policy import why_automatic
from mailslot_plugins.intake.senders import ADDRESS, is_allowed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mailslot_plugins.intake.mail import OpenedMail


def why_not_allowed(mail: OpenedMail, own: Collection[str], values: Mapping[str, Any]) -> str:
    """Say why a mail is not printed; empty where its sender may print.

    Whoever can write a mail can write any address into From, so that a list of senders keeps strangers out and no
    liar; with ``trusted_server``, what that server has found counts too.

    Args:
        mail: the mail.
        own: our own addresses, in any case.
        values: the section ``[print]``.
    """
    if len(mail.senders) != 1 or len(mail.values("from")) != 1:
        return "it has not one sender"
    sender = mail.senders[0]
    if refusal := _stranger(mail, sender, own, values["allowed_senders"]) or why_automatic(mail):
        return refusal
    server = values["trusted_server"]
    return "" if server is None else why_not_genuine(mail, server, sender)


def _stranger(mail: OpenedMail, sender: str, own: Collection[str], allowed: Collection[str]) -> str:
    if not ADDRESS.fullmatch(sender):
        return "its sender's address is none that can be told for certain"
    if mail.sender and mail.sender.casefold() != sender.casefold():
        return "it was sent by somebody else than it says it is from"
    if sender.casefold() in {address.casefold() for address in own}:
        return "it is from this device itself"
    return "" if is_allowed(sender, allowed) else f"{sender[:100]} is not an allowed sender"

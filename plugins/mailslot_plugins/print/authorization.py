"""Who may print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mailslot_plugins.intake.authentication_results import authentication_refusal
from mailslot_plugins.intake.auto_reply_policy import automatic_reason
from mailslot_plugins.intake.senders import ADDRESS, is_listed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mailslot_plugins.intake.mail import OpenedMail


def printing_refusal(mail: OpenedMail, own: Collection[str], values: Mapping[str, Any]) -> str:
    """Return why a mail is not printed; empty if its sender may print.

    Anybody can write any address into From: a list of senders keeps strangers out, but not forgers. With
    ``trusted_server``, that server's authentication results are checked too.

    Args:
        mail: the mail.
        own: our own addresses, in upper or lower case.
        values: the section ``[print]``.
    """
    if len(mail.senders) != 1 or len(mail.values("from")) != 1:
        return "it does not have exactly one sender"
    sender = mail.senders[0]
    if refusal := _sender_refusal(mail, sender, own, values["allowed_senders"]) or automatic_reason(mail):
        return refusal
    server = values["trusted_server"]
    return "" if server is None else authentication_refusal(mail, server, sender)


def _sender_refusal(mail: OpenedMail, sender: str, own: Collection[str], allowed: Collection[str]) -> str:
    if not ADDRESS.fullmatch(sender):
        return "its sender's address is ambiguous"
    if mail.sender and mail.sender.casefold() != sender.casefold():
        return "its Sender and From addresses differ"
    if sender.casefold() in {address.casefold() for address in own}:
        return "it is from this device itself"
    return "" if is_listed(sender, allowed) else f"{sender[:100]} is not an allowed sender"

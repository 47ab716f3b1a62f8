"""Whom an answer goes to, and why none does (RFC 3834: a responder that is a service)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot_plugins.intake.automatic import ABSENT, why_of_machine
from mailslot_plugins.intake.senders import ADDRESS, is_allowed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mailslot.service.device import Device
    from mailslot_plugins.intake.mail import OpenedMail


@dataclass(frozen=True, slots=True)
class ReplyDecision:
    """Who is answered, or why nobody is; one of the two is empty."""

    address: str = ""
    refusal: str = ""


_MACHINES: Final = re.compile(
    r"(?:mailer-daemon|listserv|majordomo|no-?reply|do-?not-?reply|bounces?|owner-.*|.*-owner|.*-request|"
    r".*-bounces?|bounces?[+=].*|msprvs1=.*|prvs=.*)@.*",
    re.IGNORECASE,
)
_UNWANTED: Final = frozenset({"all", "autoreply", "oof"})
_LIST_FIELDS: Final = (
    *("list-id", "list-unsubscribe", "list-post", "list-help", "list-owner", "list-archive", "mailing-list"),
    *("x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-response", "x-loop", "feedback-id"),
)
_RETURNED: Final = re.compile(
    r"\s*(?:undeliver(?:able|ed)(?: mail)?:|delivery status notification\b|returned mail: (?:see|user|host|unknown))",
    re.IGNORECASE,
)
"""How the subjects of reports begin. Words such as «delivery failed» are people's, too."""


def decide_reply(mail: OpenedMail, own: Collection[str], allowed: Collection[str]) -> ReplyDecision:
    """Say who is answered.

    The answer goes to the address in Return-Path, which the mail server has put there, and only where it and the one
    address in From are both allowed, so that nobody can have it sent to a third (RFC 3834 section 4). Where the
    server puts no Return-Path, it goes to From.

    Args:
        mail: the mail.
        own: our own addresses, in any case.
        allowed: the addresses and @domains that are answered.
    """
    refusal = why_automatic(mail) or next(_not_from_one(mail), "")
    if refusal:
        return ReplyDecision(refusal=refusal)
    ours = {address.casefold() for address in own}
    for address in (next(iter(mail.senders), ""), *mail.return_paths):
        if not ADDRESS.fullmatch(address):
            return ReplyDecision(refusal="its sender's address is none that can be answered")
        if address.casefold() in ours:
            return ReplyDecision(refusal="it is from this device itself")
        if is_machine(address):
            return ReplyDecision(refusal="it is from a machine")
        if not is_allowed(address, allowed):
            return ReplyDecision(refusal=f"{address[:100]} is not an allowed sender")
    return ReplyDecision(address=next(iter(mail.return_paths), mail.senders[0]))


def why_automatic(mail: OpenedMail) -> str:
    """Say why a mail counts as automatic, so that no machine may answer it; empty where a person has written it."""
    return next(_automatic(mail), "")


def is_machine(address: str) -> bool:
    """Tell whether an address is one that no person reads, such as ``mailer-daemon@…`` or a list's."""
    return _MACHINES.fullmatch(address) is not None


def own_addresses(device: Device) -> set[str]:
    """Return the addresses that this device sends from or receives at. Blocks."""
    settings = device.records.settings.load().values()
    addresses = {address for mine in settings for address in (mine.sender_address, mine.account)}
    return {address for address in addresses if address}


def _not_from_one(mail: OpenedMail) -> Iterator[str]:
    if len(mail.senders) > 1 or len(mail.values("from")) != 1:
        yield "it has not one sender"
    if len(mail.return_paths) > 1:
        yield "it has several return paths"


def _automatic(mail: OpenedMail) -> Iterator[str]:
    yield from filter(None, [why_of_machine(mail.fields, mail.senders)])
    if mail.is_report or mail.report is not None:
        yield "it is a report"
    if any(mail.values(name) for name in _LIST_FIELDS):
        yield "it came through a mailing list or an automatic responder"
    if any(_UNWANTED & set(re.split(r"[\s,]+", v.casefold())) for v in mail.values("x-auto-response-suppress")):
        yield "its sender wants no automatic answer"
    if ABSENT.match(mail.subject) or _RETURNED.match(mail.subject):
        yield "its subject is that of an automatic answer"

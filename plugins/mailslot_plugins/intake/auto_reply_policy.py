"""Decides who gets an automatic reply, if anybody does (RFC 3834: a service responder)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mailslot_plugins.intake.machine_mail import ABSENCE_SUBJECT, machine_reason
from mailslot_plugins.intake.senders import ADDRESS, is_listed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from mailslot.service.device import Device
    from mailslot.slots.settings import Settings
    from mailslot_plugins.intake.mail import OpenedMail


@dataclass(frozen=True, slots=True)
class ReplyDecision:
    """Who gets the reply, or why nobody does; one of the two is empty."""

    address: str = ""
    refusal: str = ""


_MACHINE_ADDRESS: Final = re.compile(
    r"(?:mailer-daemon|listserv|majordomo|no-?reply|do-?not-?reply|bounces?|owner-.*|.*-owner|.*-request|"
    r".*-bounces?|bounces?[+=].*|msprvs1=.*|prvs=.*)@.*",
    re.IGNORECASE,
)
_SUPPRESS_VALUES: Final = frozenset({"all", "autoreply", "oof"})
_LIST_FIELDS: Final = (
    *("list-id", "list-unsubscribe", "list-post", "list-help", "list-owner", "list-archive", "mailing-list"),
    *("x-autoreply", "x-autorespond", "x-autoresponder", "x-auto-response", "x-loop", "feedback-id"),
)
_REPORT_SUBJECT: Final = re.compile(
    r"\s*(?:undeliver(?:able|ed)(?: mail)?:|delivery status notification\b|returned mail: (?:see|user|host|unknown))",
    re.IGNORECASE,
)
"""How subjects of reports begin. People also write «delivery failed», which is therefore not in the list."""


def decide_reply(mail: OpenedMail, own: Collection[str], allowed: Collection[str]) -> ReplyDecision:
    """Decide who gets the reply to a mail.

    The reply goes to the address in Return-Path, which the mail server adds, and only if it and the only address in
    From are both allowed, so that nobody can direct it at a third party (RFC 3834 section 4). Without Return-Path, it
    goes to From.

    Args:
        mail: the mail.
        own: our own addresses, in upper or lower case.
        allowed: the addresses and @domains that get replies.
    """
    refusal = automatic_reason(mail) or next(_sender_refusals(mail), "")
    if refusal:
        return ReplyDecision(refusal=refusal)
    ours = {address.casefold() for address in own}
    for address in (next(iter(mail.senders), ""), *mail.return_paths):
        if not ADDRESS.fullmatch(address):
            return ReplyDecision(refusal="its sender's address cannot be answered")
        if address.casefold() in ours:
            return ReplyDecision(refusal="it is from this device itself")
        if is_machine_address(address):
            return ReplyDecision(refusal="it is from a machine")
        if not is_listed(address, allowed):
            return ReplyDecision(refusal=f"{address[:100]} is not an allowed sender")
    return ReplyDecision(address=next(iter(mail.return_paths), mail.senders[0]))


def automatic_reason(mail: OpenedMail) -> str:
    """Return why a mail counts as automatic and must not be answered; empty if a person wrote it."""
    return next(_automatic_reasons(mail), "")


def is_machine_address(address: str) -> bool:
    """Return whether no person reads an address, for example ``mailer-daemon@…`` or a mailing list."""
    return _MACHINE_ADDRESS.fullmatch(address) is not None


def own_addresses(device: Device) -> set[str]:
    """Return the addresses of this device's accounts and senders. Blocks."""
    return addresses_in(device.records.settings.current().records)


def addresses_in(settings: Mapping[str, Settings]) -> set[str]:
    """Return the addresses of the accounts and senders in the settings of all records."""
    addresses = {address for each in settings.values() for address in (each.sender_address, each.account)}
    return {address for address in addresses if address}


def _sender_refusals(mail: OpenedMail) -> Iterator[str]:
    if len(mail.senders) > 1 or len(mail.values("from")) != 1:
        yield "it does not have exactly one sender"
    if len(mail.return_paths) > 1:
        yield "it has several return paths"


def _automatic_reasons(mail: OpenedMail) -> Iterator[str]:
    yield from filter(None, [machine_reason(mail.fields, mail.senders)])
    if mail.is_report or mail.report is not None:
        yield "it is a report"
    if any(mail.values(name) for name in _LIST_FIELDS):
        yield "it came through a mailing list or an automatic responder"
    if any(_SUPPRESS_VALUES & set(re.split(r"[\s,]+", v.casefold())) for v in mail.values("x-auto-response-suppress")):
        yield "its sender wants no automatic reply"
    if ABSENCE_SUBJECT.match(mail.subject) or _REPORT_SUBJECT.match(mail.subject):
        yield "its subject is that of an automatic reply"

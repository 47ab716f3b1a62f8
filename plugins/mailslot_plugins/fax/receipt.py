"""Receipts for faxes that came in: to whom one may be sent, and what stands in it (RFC 8098, RFC 2532, RFC 3249)."""

from __future__ import annotations

import re
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.mime.text import MIMEText
from email.policy import SMTP
from email.utils import formatdate, getaddresses, make_msgid
from typing import TYPE_CHECKING, Final

from mailslot_plugins.fax.capabilities import OURS
from mailslot_plugins.intake.auto_reply_policy import ReplyDecision, is_machine, why_automatic
from mailslot_plugins.intake.senders import ADDRESS, is_allowed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mailslot_plugins.intake.mail import OpenedMail

_REQUIRED: Final = re.compile(r"=\s*required\b", re.IGNORECASE)
_QUOTED_PAIR: Final = re.compile(r"\\(.)")


def judge_receipt(mail: OpenedMail, own: Collection[str], allowed: Collection[str]) -> ReplyDecision:
    """Say who gets a receipt, or why nobody does (RFC 8098 section 2.1, RFC 2532 section 2.2.1).

    Args:
        mail: the mail.
        own: our own addresses, in any case.
        allowed: the addresses and @domains that may have one; none where there are none.
    """
    refusal = next(_refusals(mail, own, allowed), "")
    return ReplyDecision(refusal=refusal) if refusal else ReplyDecision(address=_plain(mail.return_paths[0]))


def _refusals(mail: OpenedMail, own: Collection[str], allowed: Collection[str]) -> Iterator[str]:
    asked = mail.values("disposition-notification-to")
    if not asked:
        yield "no receipt is asked for"
    yield from filter(None, [why_automatic(mail)])
    wanted = [_plain(address) for _, address in getaddresses(list(asked))]
    if len(asked) != 1 or len(wanted) != 1:
        yield "receipts are asked for at not one address"
    if any(_REQUIRED.search(value) for value in mail.values("disposition-notification-options")):
        yield "it requires something of a receipt that is not known here"
    if wanted != [_plain(address) for address in mail.return_paths]:
        yield "the receipt would go elsewhere than the mail came from"
    for address in wanted:
        if not ADDRESS.fullmatch(address):
            yield "its sender's address is none that can be answered"
        if address.casefold() in {each.casefold() for each in own}:
            yield "it is from this device itself"
        if is_machine(address):
            yield "it is from a machine"
        if not is_allowed(address, allowed):
            yield f"{address[:100]} is not an allowed sender"


def compose_receipt(
    mail: OpenedMail, *, sender: str, mailbox: str, to: str, device: str, error: str = "", at: float
) -> bytes:
    """Return a receipt: that a fax was printed, or why it was not. Nothing of the fax itself stands in it.

    Args:
        mail: the fax.
        sender: whom it is from.
        mailbox: where the fax arrived.
        to: who asked for it.
        device: what the device is called.
        error: why it was not printed; empty where it was.
        at: the time, in seconds since 1970.
    """
    report = MIMEMultipart("report", report_type="disposition-notification", policy=SMTP)
    report["From"] = sender
    report["To"] = to
    report["Subject"] = "Fax not printed" if error else "Fax printed"
    report["Date"] = formatdate(at)
    report["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    if mail.message_id:
        report["In-Reply-To"] = report["References"] = mail.message_id
    report["Auto-Submitted"] = "auto-replied"
    said = (
        f"The fax could not be printed. {error}"
        if error
        else ("The fax was received and printed. This does not mean that anybody has read it.")
    )
    report.attach(MIMEText(f"{said}\r\n", policy=SMTP))
    fields = [("Reporting-UA", f"{_ascii(device) or 'fax'}; mailslot")]
    fields += [("Original-Recipient", _ascii(value)) for value in mail.values("original-recipient")[:1]]
    fields += [("Final-Recipient", f"rfc822;{mailbox}")]
    if mail.message_id:
        fields.append(("Original-Message-ID", mail.message_id))
    done = "processed/error" if error else "dispatched"
    fields.append(("Disposition", f"automatic-action/MDN-sent-automatically; {done}"))
    if error:
        fields.append(("Error", _ascii(error)))
    fields.append(("Media-Accept-Features", OURS.replace(") (", ")\r\n (")))
    notification = MIMENonMultipart("message", "disposition-notification", policy=SMTP)
    notification.set_payload("".join(f"{name}: {value}\r\n" for name, value in fields))
    report.attach(notification)
    return report.as_bytes()


def _plain(address: str) -> str:
    """Return an address to be compared: local parts are compared in their case, without quotation marks."""
    local, _, domain = address.strip().rpartition("@")
    if len(local) > 1 and local[0] == local[-1] == '"':
        local = _QUOTED_PAIR.sub(r"\1", local[1:-1])
    return f"{local}@{domain.casefold()}"


def _ascii(text: str) -> str:
    """Return a text that can stand in a field: one line of ASCII."""
    said = "".join(each if each.isascii() and each.isprintable() else "?" for each in " ".join(text.split()))
    return said[:300]

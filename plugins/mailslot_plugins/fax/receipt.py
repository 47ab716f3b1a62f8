"""Receipts for received faxes: who may get one, and its content (RFC 8098, RFC 2532, RFC 3249)."""

from __future__ import annotations

import re
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.mime.text import MIMEText
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from typing import TYPE_CHECKING, Final

from mailslot.message.address_list import read_addresses
from mailslot_plugins.fax.capabilities import OWN_FEATURES
from mailslot_plugins.intake.auto_reply_policy import ReplyDecision, automatic_reason, is_machine_address
from mailslot_plugins.intake.senders import ADDRESS, is_listed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from mailslot_plugins.intake.mail import OpenedMail

_REQUIRED: Final = re.compile(r"=\s*required\b", re.IGNORECASE)
_QUOTED_PAIR: Final = re.compile(r"\\(.)")


def decide_receipt(mail: OpenedMail, own_addresses: Collection[str], allowed: Collection[str]) -> ReplyDecision:
    """Decide who gets a receipt, if anybody does (RFC 8098 section 2.1, RFC 2532 section 2.2.1).

    Args:
        mail: the mail.
        own_addresses: our own addresses, in upper or lower case.
        allowed: the addresses and @domains that may get one; if there are none, nobody does.
    """
    refusal = next(_receipt_refusals(mail, own_addresses, allowed), "")
    return ReplyDecision(refusal=refusal) if refusal else ReplyDecision(address=_comparable(mail.return_paths[0]))


def _receipt_refusals(mail: OpenedMail, own_addresses: Collection[str], allowed: Collection[str]) -> Iterator[str]:
    requests = mail.values("disposition-notification-to")
    if not requests:
        yield "no receipt is requested"
    yield from filter(None, [automatic_reason(mail)])
    addresses = [_comparable(address) for _, address in read_addresses(requests)]
    if len(requests) != 1 or len(addresses) != 1:
        yield "receipts are not requested for exactly one address"
    if any(_REQUIRED.search(value) for value in mail.values("disposition-notification-options")):
        yield "it requires an unknown option of the receipt"
    if addresses != [_comparable(address) for address in mail.return_paths]:
        yield "the receipt would go to another address than the sender's"
    for address in addresses:
        if not ADDRESS.fullmatch(address):
            yield "its sender's address cannot be answered"
        if address.casefold() in {each.casefold() for each in own_addresses}:
            yield "it is from this device itself"
        if is_machine_address(address):
            yield "it is from a machine"
        if not is_listed(address, allowed):
            yield f"{address[:100]} is not an allowed sender"


def compose_receipt(
    mail: OpenedMail, *, sender: str, mailbox: str, to: str, device: str, error: str = "", at: float
) -> bytes:
    """Return a receipt: that a fax was printed, or why it was not. It contains nothing of the fax itself.

    Args:
        mail: the fax.
        sender: the receipt's sender.
        mailbox: the mailbox where the fax arrived.
        to: who requested the receipt.
        device: the device's name.
        error: why it was not printed; empty if it was.
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
    sentence = (
        f"The fax could not be printed. {error}"
        if error
        else ("The fax was received and printed. This does not mean that anybody has read it.")
    )
    report.attach(MIMEText(f"{sentence}\r\n", policy=SMTP))
    fields = [("Reporting-UA", f"{_to_ascii(device) or 'fax'}; mailslot")]
    fields += [("Original-Recipient", _to_ascii(value)) for value in mail.values("original-recipient")[:1]]
    fields += [("Final-Recipient", f"rfc822;{mailbox}")]
    if mail.message_id:
        fields.append(("Original-Message-ID", mail.message_id))
    disposition = "processed/error" if error else "dispatched"
    fields.append(("Disposition", f"automatic-action/MDN-sent-automatically; {disposition}"))
    if error:
        fields.append(("Error", _to_ascii(error)))
    fields.append(("Media-Accept-Features", OWN_FEATURES.replace(") (", ")\r\n (")))
    notification = MIMENonMultipart("message", "disposition-notification", policy=SMTP)
    notification.set_payload("".join(f"{name}: {value}\r\n" for name, value in fields))
    report.attach(notification)
    return report.as_bytes()


def _comparable(address: str) -> str:
    """Return an address for comparison: the local part without quotation marks, the domain in lower case."""
    local, _, domain = address.strip().rpartition("@")
    if len(local) > 1 and local[0] == local[-1] == '"':
        local = _QUOTED_PAIR.sub(r"\1", local[1:-1])
    return f"{local}@{domain.casefold()}"


def _to_ascii(text: str) -> str:
    """Return a text as one line of ASCII, for a header field."""
    sentence = "".join(each if each.isascii() and each.isprintable() else "?" for each in " ".join(text.split()))
    return sentence[:300]

"""The envelope and the delivery status request (ST-18, ST-19)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot import DeliveryStatus, InputError
from mailslot.smtp.capabilities import Capabilities
from mailslot.smtp.envelope import Envelope, xtext

NOTHING = Capabilities("mail")
ALL = Capabilities("mail\nSIZE\n8BITMIME\nSMTPUTF8\nDSN")


@pytest.mark.parametrize(
    ("text", "coded"),
    [
        ("FAX=+390408565@example.com", "FAX+3D+2B390408565@example.com"),
        ("a+b=c@example.com", "a+2Bb+3Dc@example.com"),
        ("plain@example.com", "plain@example.com"),
        (" ", "+20"),
        ('"a b"@x', '"a+20b"@x'),
        ("", ""),
    ],
)
def test_xtext(text: str, coded: str) -> None:
    assert xtext(text) == coded


@given(st.text(st.characters(max_codepoint=127)))
def test_xtext_survives_a_round_trip(text: str) -> None:
    coded = xtext(text)
    assert re.fullmatch(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*", coded)
    assert re.sub(r"\+(..)", lambda match: chr(int(match[1], 16)), coded) == text


def test_duplicate_recipients_are_merged() -> None:
    envelope = Envelope("a@x.example", ["b@x.example", "c@x.example", "b@x.example"], None)
    assert [address.wire for address in envelope.recipients] == ["b@x.example", "c@x.example"]
    assert envelope.sender.wire == "a@x.example"


@pytest.mark.parametrize(
    ("sender", "recipients", "why"),
    [
        ("a@x.example", [], "no recipient"),
        ("a@x.example", "b@x.example", "must be a list"),
        ("a@x.example", b"b@x.example", "must be a list"),
        ("a@x.example", None, "must be a list"),
        ("a@x.example", 7, "must be a list"),
        ("a@x.example", [None], "not text"),
        ("a@x.example", ["b@x.example", ""], "recipient address"),
        ("a b@x.example", ["b@x.example"], "sender address"),
    ],
)
def test_invalid_envelopes(sender: str, recipients: list[str], why: str) -> None:
    with pytest.raises(InputError, match=why):
        Envelope(sender, recipients, None)


def test_invalid_delivery_status_requests() -> None:
    with pytest.raises(InputError, match="DeliveryStatus"):
        Envelope("a@x.example", ["b@x.example"], "FAILURE")  # type: ignore[arg-type]  # that is what is tested


def parameters(
    offered: Capabilities, delivery: DeliveryStatus | None = None, *, eight_bit: bool = False, smtputf8: bool = False
) -> tuple[str, str]:
    envelope = Envelope("a@x.example", ["FAX=+1@x.example"], delivery)
    mail = envelope.mail_parameters(offered, size=7, eight_bit=eight_bit, smtputf8=smtputf8)
    return mail, envelope.rcpt_parameters(envelope.recipients[0], offered)


def test_only_offered_parameters_are_sent() -> None:
    everything = DeliveryStatus(("SUCCESS", "DELAY"), whole_message=True, envelope_id="a b")
    assert parameters(NOTHING, everything) == ("", "")
    assert parameters(NOTHING, everything, eight_bit=True) == ("", "")
    assert parameters(ALL, everything) == (
        " SIZE=7 RET=FULL ENVID=a+20b",
        " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;FAX+3D+2B1@x.example",
    )
    assert parameters(ALL, DeliveryStatus(("NEVER",), whole_message=False)) == (
        " SIZE=7 RET=HDRS",
        " NOTIFY=NEVER ORCPT=rfc822;FAX+3D+2B1@x.example",
    )
    assert parameters(ALL, DeliveryStatus()) == (" SIZE=7", "")
    assert parameters(ALL) == (" SIZE=7", "")
    assert parameters(ALL, eight_bit=True) == (" SIZE=7 BODY=8BITMIME", "")
    assert parameters(ALL, smtputf8=True) == (" SIZE=7 BODY=8BITMIME SMTPUTF8", "")


def test_no_original_recipient_for_those_that_rfc_3461_cannot_name() -> None:
    delivery = DeliveryStatus(("FAILURE",))
    envelope = Envelope("a@x.example", ["ü@x.example", "+" * 64 + "@" + "x" * 60 + ".example"], delivery)
    first, second = envelope.recipients
    assert envelope.rcpt_parameters(first, ALL) == " NOTIFY=FAILURE"
    assert " ORCPT=rfc822;+2B" in envelope.rcpt_parameters(second, ALL)


def test_an_original_recipient_is_never_too_long() -> None:
    """The longest address there is, all of it encoded, still fits RFC 3461's 500 characters."""
    longest = "+" * 64 + "@" + ".".join(["x" * 60] * 3)
    envelope = Envelope("a@x.example", [longest], DeliveryStatus(("FAILURE",)))
    assert len(envelope.rcpt_parameters(envelope.recipients[0], ALL).partition("ORCPT=")[2]) <= 500


@pytest.mark.parametrize(
    "arguments",
    [
        {"notify": ("NEVER", "SUCCESS")},
        {"notify": ("ALWAYS",)},
        {"notify": ("SUCCESS", "SUCCESS")},
        {"notify": "NEVER"},
        {"envelope_id": ""},
        {"envelope_id": "a\r\nb"},
        {"envelope_id": "ü"},
        {"envelope_id": "x" * 101},
        {"envelope_id": "+" * 34},
    ],
)
def test_invalid_delivery_status(arguments: dict[str, object]) -> None:
    with pytest.raises(InputError):
        DeliveryStatus(**arguments)  # type: ignore[arg-type]  # that is what is tested


def test_the_longest_envelope_identifier() -> None:
    assert DeliveryStatus(envelope_id="x" * 100).envelope_id == "x" * 100
    assert DeliveryStatus(envelope_id="+" * 33).envelope_id == "+" * 33

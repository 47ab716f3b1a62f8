"""What is remembered of a session's envelopes."""

from __future__ import annotations

import pytest

from mailslot import DeliveryStatus, InputError
from mailslot.smtp.capabilities import Capabilities
from mailslot.smtp.content import BytesContent
from mailslot.smtp.negotiation import Negotiator

SENDER, TO = "a@x.example", ["b@x.example"]


def negotiator(*lines: str) -> Negotiator:
    return Negotiator(Capabilities("\n".join(["mail.example.com", *lines])), "mail.example.com")


def test_an_envelope_is_compared_once() -> None:
    session = negotiator("SIZE 1000", "DSN")
    envelope = session.validate(SENDER, TO, None)
    assert session.validate(SENDER, tuple(TO), None) is envelope
    assert session.validate(SENDER, TO, DeliveryStatus(("FAILURE",))) is not envelope
    short, long = BytesContent(b"x\r\n\r\n"), BytesContent(b"x\r\n\r\n" + b"y" * 500)
    assert session.negotiate(envelope, short) is session.negotiate(envelope, long)
    assert session.negotiate(envelope, short).mail(short.size) == b"MAIL FROM:<a@x.example> SIZE=5\r\n"
    assert session.negotiate(envelope, long).mail(long.size) == b"MAIL FROM:<a@x.example> SIZE=507\r\n"
    assert session.negotiate(envelope, long).rcpts() == [b"RCPT TO:<b@x.example>\r\n"]


def test_parameters_behind_the_size() -> None:
    session = negotiator("SIZE", "DSN", "8BITMIME")
    delivery = DeliveryStatus(envelope_id="> SIZE=99999999999999999999", whole_message=True)
    envelope = session.validate('"> SIZE=99999999999999999999"@x.example', TO, delivery)
    content = BytesContent("x\r\n\r\nü\r\n".encode())
    assert session.negotiate(envelope, content).mail(9) == (
        b'MAIL FROM:<"> SIZE=99999999999999999999"@x.example> SIZE=9 BODY=8BITMIME RET=FULL'
        b" ENVID=>+20SIZE+3D99999999999999999999\r\n"
    )


def test_what_cannot_be_remembered_is_validated_each_time() -> None:
    session = negotiator()
    unhashable = DeliveryStatus(["FAILURE"])  # type: ignore[arg-type]  # which is accepted
    assert session.validate(SENDER, TO, unhashable) is not session.validate(SENDER, TO, unhashable)
    assert [each.wire for each in session.validate(SENDER, iter(TO), None).recipients] == TO  # type: ignore[arg-type]  # as above
    with pytest.raises(InputError):
        session.validate(SENDER, [[]], None)  # type: ignore[list-item]  # that is what is tested
    with pytest.raises(InputError):
        session.validate(SENDER, "b@x.example", None)


def test_few_envelopes_are_remembered() -> None:
    session = negotiator()
    content = BytesContent(b"x\r\n\r\n")
    for number in range(1_000):
        session.negotiate(session.validate(SENDER, [f"{number}@x.example"], None), content)
    assert len(session._envelopes) <= 256
    assert len(session._negotiated) <= 256

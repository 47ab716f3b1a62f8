"""Groups of commands: `next_success` and the table agree on every combination of replies."""

from __future__ import annotations

from itertools import product

import pytest

from mailslot.smtp.address import Address
from mailslot.smtp.commands import DATA, mail_command, rcpt_command
from mailslot.smtp.limits import MAX_REPLY_LINE
from mailslot.smtp.protocol import ReplyReceived, SmtpProtocol
from mailslot.smtp.states import State, Verb
from mailslot.wire.dot_stuffing import WholeMessage
from mailslot.wire.protocol_error import LocalProtocolError, RemoteProtocolError

A = Address("a@x.example", "a@x.example")
LINES = [
    b"250 2.1.0 ok\r\n",
    b"354 go on\r\n",
    b"334 \r\n",
    b"421 4.3.2 later\r\n",
    b"550 5.1.1 no\r\n",
    b"221 bye\r\n",
]
MULTILINE = b"250-2.1.5 first\r\n250 2.1.5 last\r\n"
ENVELOPE = (Verb.MAIL, Verb.RCPT, Verb.DATA)
GROUPS = [ENVELOPE, (Verb.RSET, *ENVELOPE), (Verb.MAIL, Verb.RCPT, Verb.RCPT), (Verb.NOOP,), (Verb.QUIT,)]


def ready() -> SmtpProtocol:
    """Return a core in READY."""
    core = SmtpProtocol()
    core.receive(b"220 mail.example.com\r\n")
    core.next_event()
    core.ehlo("client.example")
    core.receive(b"250-mail.example.com\r\n250 PIPELINING\r\n")
    core.next_event()
    return core


def outcome(
    core: SmtpProtocol, *, grouped: bool
) -> tuple[list[tuple[Verb | None, int | None]], str, State, State, int]:
    """Return the replies by command, the fault if there is one, and what the state is then."""
    heard: list[tuple[Verb | None, int | None]] = []
    fault = ""
    if grouped:
        verbs = list(core._pending_verbs)
        heard += [(verb, reply.code) for verb, reply in zip(verbs, core.next_success(), strict=False)]
    try:
        while (event := core.next_event()) is not None:
            heard.append((event.verb if isinstance(event, ReplyReceived) else None, event.reply.code))
    except RemoteProtocolError as error:
        fault = str(error)
    return heard, fault, core.state, core._optimistic_state, core.received.unread


@pytest.mark.parametrize("verbs", GROUPS, ids=lambda verbs: " ".join(verb.value for verb in verbs))
def test_every_combination_of_replies(verbs: tuple[Verb, ...]) -> None:
    for lines in product(LINES, repeat=len(verbs)):
        by_the_table, grouped = ready(), ready()
        for core in (by_the_table, grouped):
            core.group(b"", verbs)
            core.receive(b"".join(lines))
        assert outcome(grouped, grouped=True) == outcome(by_the_table, grouped=False), lines


@pytest.mark.parametrize(
    "octets",
    [
        *(b"", b"2", LINES[0][:-1], LINES[0] * 2, LINES[0] * 2 + b"354", LINES[0] * 4, MULTILINE * 3),
        *(LINES[0] * 2 + b"354 a\nb\r\n", LINES[0] + b"nonsense\r\n" + LINES[1], LINES[0] + b"250-a\r\n" + LINES[1]),
        LINES[0] * 2 + b"354 " + b"x" * MAX_REPLY_LINE + b"\r\n",
    ],
    ids=lambda octets: octets[-20:],
)
def test_other_octets_are_left_to_the_table(octets: bytes) -> None:
    core = ready()
    core.group(b"", ENVELOPE)
    core.receive(octets)
    assert core.next_success() == []
    assert (core.received.unread, core.pending) == (len(octets), 3)


def test_part_of_a_multiline_reply_is_left_to_the_table() -> None:
    core = ready()
    core.group(b"", (Verb.NOOP,))
    core.receive(b"250-first\r\n")
    assert core.next_event() is None
    core.receive(LINES[0])
    assert core.next_success() == []
    assert core.next_event() is not None
    assert core.received.unread == 0


def test_without_pending_commands_nothing_succeeds() -> None:
    core = ready()
    assert core.next_success() == []
    core.receive(b"25")
    assert core.next_success() == []
    core.receive(b"0 2.1.0 ok\r\n")
    assert core.next_success() == []
    assert core.received.unread == len(LINES[0])


def test_a_group_is_the_same_as_its_commands() -> None:
    group, single = ready(), ready()
    octets = group.group(mail_command(A, " SIZE=7") + rcpt_command(A) + DATA, ENVELOPE)
    assert octets == single.mail(A, " SIZE=7") + single.rcpt(A) + single.data()
    assert group._pending_verbs == single._pending_verbs
    assert group._optimistic_state is single._optimistic_state is State.DATA


@pytest.mark.parametrize(
    "verbs", [(Verb.MAIL, Verb.DATA), (Verb.RCPT,), (*ENVELOPE, Verb.MAIL), (Verb.NOOP, Verb.MAIL)]
)
def test_a_group_that_the_table_forbids_changes_nothing(verbs: tuple[Verb, ...]) -> None:
    core = ready()
    for _ in range(2):
        with pytest.raises(LocalProtocolError):
            core.group(b"", verbs)
        assert (core.pending, core._optimistic_state) == (0, State.READY)


@pytest.mark.parametrize(
    "message", [b"", b".", b"..\n.a\r\r\n", b"line", b"\n.\r\n", b"a\r\n.\r\nRCPT TO:<b@x.example>"]
)
def test_a_whole_message_is_the_same_as_its_pieces(message: bytes) -> None:
    whole, pieces = ready(), ready()
    for core in (whole, pieces):
        core.group(b"", ENVELOPE)
        core.receive(LINES[0] * 2 + LINES[1])
        assert len(core.next_success()) == 3
    content = b"".join(pieces.content(message[at : at + 1]) for at in range(len(message)))
    assert whole.message(WholeMessage(message)) == content + pieces.end_of_data()
    assert whole.sent_size == pieces.sent_size
    with pytest.raises(LocalProtocolError):
        whole.message(WholeMessage(message))


def test_a_whole_message_cannot_follow_a_piece() -> None:
    core = ready()
    core.group(b"", ENVELOPE)
    with pytest.raises(LocalProtocolError):
        core.message(WholeMessage(b"too early"))
    core.receive(LINES[0] * 2 + LINES[1])
    core.next_success()
    core.content(b"a piece")
    with pytest.raises(LocalProtocolError):
        core.message(WholeMessage(b"a whole"))


def test_few_lines_are_remembered() -> None:
    core = ready()
    for number in range(1_000):
        core.received.feed(LINES[0] + b"250 queued as %d\r\n" % number)
        assert core.received.next() is not None
        assert core.received.next() is not None
    remembered = core.received._parse_line.cache_info()
    assert remembered.currsize <= 10
    # What comes with every message is not displaced by what comes once.
    assert remembered.hits >= 999

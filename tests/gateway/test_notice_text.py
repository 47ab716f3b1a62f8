"""The mail to owners of devices, in each language."""

from __future__ import annotations

import pytest

from mailslot.diagnosis.catalogue import languages
from mailslot.spool.job import DEVICE_NOTE, Job, Recipient, RecipientState, State
from mailslot_plugins.gateway.notice_text import subject_of, text_of
from mailslot_plugins.status.words import load_words


def job(state: State, *recipients: tuple[RecipientState, str, str | None], subject: str = "a scan") -> Job:
    return Job(
        id=7,
        pipeline="gateway",
        via="account.office",
        state=state,
        sender="scans@example.com",
        recipients=tuple(Recipient(f"{n}@example.com", *each) for n, each in enumerate(recipients)),
        subject=subject,
        size=1,
        created_at=0.0,
        changed_at=0.0,
        attempts=1,
        doubts=0,
        next_attempt=None,
        expires_at=None,
        cause="connection_refused",
        sentence="The mail server cannot be reached.",
        reply="",
        message_id="<1@copier>",
        notes={DEVICE_NOTE: "hall"},
        eight_bit=False,
        smtputf8=False,
    )


REFUSED = ("refused", "550 5.1.1 No such user", "recipient_refused")
WAITING = ("waiting", "", None)


@pytest.mark.parametrize("language", languages())
def test_it_is_in_one_language(language: str) -> None:
    jobs = [job("sent", REFUSED), job("failed", WAITING, subject=""), job("held", WAITING)]
    text = text_of(jobs, language)
    words = {key: texts[language] for key, texts in load_words("mailslot_plugins.gateway", "mail_words.toml").items()}
    assert subject_of(jobs, language) == words["subject_not_delivered"].format(devices="hall")
    for key in ("not_delivered", "waiting", "no_subject", "advice"):
        assert words[key] in text
    assert "550 5.1.1 No such user" in text
    # It names nothing by which it could pass for a report about these mails.
    assert "<1@copier>" not in text
    # Only English has the sentence as it was at the time.
    assert ("The mail server cannot be reached." in text) == (language == "en")


def test_many_recipients_are_counted() -> None:
    text = text_of([job("failed", *[REFUSED] * 30)], "en")
    assert text.count("No such user") == 20
    assert "and 10 more recipients" in text


def test_a_hostile_reply_stays_on_its_line() -> None:
    text = text_of([job("sent", ("refused", "550 no\r\n\r\nPlease pay\x1b[2J", None), subject="a\nb")], "en")
    assert "550 no Please pay [2J" in text
    assert "    a b\n" in text

"""The stages as they are shown."""

from __future__ import annotations

from mailslot.diagnosis.stages import MAX_NOTE, StageResult, Stages


def test_authentication_does_not_pass_without_a_token() -> None:
    """The library asks for the token within the sign-in, which a person does not see."""
    stages = Stages()
    for name in ("resolve", "connect", "greeting", "capabilities", "tls", "capabilities", "sign_in", "token"):
        stages.begin(name)
    stages.fail("token")
    assert [(stage.name, stage.ok) for stage in stages.results] == [
        ("resolve", True),
        ("connect", True),
        ("tls", True),
        ("greeting", True),
        ("capabilities", True),
        ("token", False),
    ]


def test_the_sign_in_is_not_shown_while_it_waits_for_the_token() -> None:
    shown: dict[str, bool | None] = {}
    seen: list[dict[str, bool | None]] = []

    def show(stage: StageResult) -> None:
        if stage.reached:
            shown[stage.name] = stage.ok
        else:
            del shown[stage.name]
        seen.append(dict(shown))

    stages = Stages(show)
    for name in ("sign_in", "token"):
        stages.begin(name)
    stages.fail("token")
    assert seen == [{"sign_in": None}, {}, {"token": None}, {"token": False}]
    # The same where a new token is requested after a refusal.
    stages, shown = Stages(show), {}
    for name in ("sign_in", "token", "sign_in", "token"):
        stages.begin(name)
    assert shown == {"token": None}
    stages.begin("sign_in")
    stages.succeed()
    assert shown == {"token": True, "sign_in": True}


def test_a_refused_authentication_is_shown_as_failed() -> None:
    stages = Stages()
    for name in ("sign_in", "token", "sign_in"):
        stages.begin(name)
    stages.fail("sign_in")
    assert [(stage.name, stage.ok) for stage in stages.results] == [("token", True), ("sign_in", False)]


def test_a_note_is_one_line() -> None:
    """A server's words are in it."""
    stages = Stages()
    stages.begin("send")
    stages.note("250 first\n✓ network.smtp\r\n\x1b[2J" + "x" * 500)
    note = stages.results[0].note
    assert note.startswith("250 first ✓ network.smtp �[2J")
    assert len(note) <= MAX_NOTE

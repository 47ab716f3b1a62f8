"""The token line of a record and the health of its token, for all pages that show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from anyio.to_thread import run_sync

from mailslot.slots.tokens import lacks_offline_access
from mailslot_plugins.panel.explanations import explanation_of
from mailslot_plugins.panel.translations import translate as word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.oauth.health import Health, State, Topic
    from mailslot.service.device import Device
    from mailslot.slots.settings import Settings

FOLDER: Final = "token"
"""The folder of the texts."""

Kind = Literal["ok", "warning", "error", "none"]

_KINDS: Final[Mapping[State, Kind]] = {
    "ok": "ok",
    "expiring": "warning",
    "needs_token": "error",
    "needs_administrator": "error",
    "unreadable": "error",
}

_WORDS: Final[Mapping[Topic, str]] = {
    "another_user": "note_another_user",
    "fewer_permissions": "note_fewer_permissions",
    "no_renewal": "not_renewable",
    "unused": "note_unused",
    "testing": "note_testing",
    "secret_ends": "note_secret_ends",
    "clock": "note_clock",
    "blockable_flow": "note_blockable_flow",
}


@dataclass(frozen=True, slots=True)
class TokenState:
    """The state of a record's token.

    Attributes:
        line: ``Not Retrieved`` or ``Retrieved``, the same in all languages.
        health: its health; None if the record needs no token, or has a token source.
        settings: the record's settings.
    """

    line: str
    health: Health | None
    settings: Settings

    @property
    def kind(self) -> Kind:
        """Its health: ``ok``, ``warning``, ``error``, or ``none`` if no token is needed."""
        if self.health is None:
            return "none"
        kind = _KINDS[self.health.state]
        return "warning" if kind == "ok" and self.health.notes else kind

    @property
    def from_elsewhere(self) -> bool:
        """Whether tokens come from a token source, such as a program or a file."""
        return self.settings.authentication == "oauth2" and self.settings.token_source is not None

    @property
    def is_there(self) -> bool:
        """Whether there is something to delete."""
        return self.health is not None and (self.health.obtained_at is not None or self.health.state == "unreadable")

    @property
    def lacks_offline_access(self) -> bool:
        """Whether it cannot be renewed, and the scope that most providers want for that was not requested."""
        return lacks_offline_access(self.health, self.settings)

    def renewal_advice(self, language: str) -> str:
        """Return what to do about a token that cannot be renewed; empty for others."""
        if self.health is None or "no_renewal" not in self.health.topics:
            return ""
        return word(FOLDER, "add_offline_access" if self.lacks_offline_access else "renewal_not_allowed", language)

    def sentence(self, language: str) -> str:
        """Return the most important problem; empty if there is none."""
        health = self.health
        if health is None:
            return word(FOLDER, "from_elsewhere", language) if self.from_elsewhere else ""
        if health.state == "expiring" and health.cause == "token_not_renewable":
            return word(FOLDER, "not_renewable", language)
        if health.failure is not None and health.failure.unconfirmed:
            return word(FOLDER, "asked_once_more", language)
        if health.cause is not None:
            # With facts, the catalogue's sentence is used instead of the stored one.
            facts = {"account": self.settings.account or ""}
            return explanation_of(health.cause, language, sentence=health.sentence, facts=facts).message
        return next(iter(self.notes(language)), health.sentence)

    def notes(self, language: str) -> tuple[str, ...]:
        """Return notes about the token, a sentence each."""
        health = self.health
        if health is None:
            return ()
        facts = {
            "owner": health.account or "",
            "account": self.settings.account or "",
            "days": max(0, round(health.renewal_days_left or 0)),
        }
        pairs = zip(health.topics, health.notes, strict=True)
        # The English ones have more details.
        return tuple(
            note if language == "en" else word(FOLDER, _WORDS[topic], language, **facts) for topic, note in pairs
        )


async def token_state(device: Device, record: str, settings: Settings | None = None) -> TokenState:
    """Return the state of a record's token.

    Args:
        device: the device.
        record: the record.
        settings: its settings; None to read them.

    Raises:
        InputError: there are no usable settings, or no such record any more.
    """
    found = settings or (await run_sync(device.records.settings.current)).records[record]
    return TokenState(*await device.records.tokens.status(record, found, device.now()), found)

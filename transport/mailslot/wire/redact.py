"""Secrets taken out of what a server says back, however it cuts or encodes them."""

from __future__ import annotations

import base64
import dataclasses
import re
from typing import TYPE_CHECKING, Final

from mailslot.wire.secret import MASK, Secret

if TYPE_CHECKING:
    from mailslot.wire.reply import Reply

_GRAM: Final = 12
_SHORT: Final = 6
_RUN: Final = re.compile(rf"\S{{{_GRAM},}}")


class Redactor:
    """Knows the secrets of one session and masks them in texts.

    A server may echo a secret whole, cut, in another case, or in base64 at any of the three alignments. So a
    word is masked as a whole where it shares twelve characters in a row with any of those forms, and so is the
    text where it does without its blanks; a secret that is shorter, or of several words, is masked where it stands.
    """

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._forms: list[str] = []
        self._exact: list[str] = []
        self._least = 0
        self._grams: set[str] | None = None

    def add(self, secret: Secret) -> None:
        """Learn a secret."""
        text = secret.reveal()
        if not text or text in self._secrets:
            return
        self._secrets.add(text)
        self._forms += [text, *(base64_of(text.encode(), lead) for lead in range(3))]
        exact = [form for form in self._forms if form in self._secrets or len(form) >= _SHORT]
        self._exact = sorted({form.casefold() for form in exact}, key=len, reverse=True)
        self._least = min(_GRAM, *map(len, exact))
        self._grams = None

    def mask(self, text: str) -> str:
        """Return `text` with every trace of a known secret replaced by ``•••``."""
        if not self._exact or len(text.casefold()) < self._least:
            return text
        text = self._mask_exact(text)
        if len(text) < _GRAM:
            return text
        text = _RUN.sub(self._mask_run, text)
        # Cut by blanks or over lines; then nothing is left that could be told from it.
        return MASK if self._holds_gram("".join(text.split())) else text

    def masked(self, reply: Reply) -> Reply:
        """Return `reply` with its words masked: the same object where nothing is to be masked."""
        text, enhanced = self.mask(reply.text), reply.enhanced and self.mask(reply.enhanced)
        if text == reply.text and enhanced == reply.enhanced:
            return reply
        return dataclasses.replace(reply, text=text, enhanced=enhanced)

    def _mask_exact(self, text: str) -> str:
        folded = text.casefold()
        for form in self._exact:
            at = folded.find(form)
            while at >= 0:
                if len(folded) != len(text):
                    # A letter that is two in the other case: nobody knows where the secret ends.
                    return MASK
                text = text[:at] + MASK + text[at + len(form) :]
                folded = folded[:at] + MASK + folded[at + len(form) :]
                at = folded.find(form, at + len(MASK))
        return text

    def _mask_run(self, match: re.Match[str]) -> str:
        return MASK if self._holds_gram(match[0]) else match[0]

    def _holds_gram(self, run: str) -> bool:
        if len(run) < _GRAM:
            return False
        if self._grams is None:
            self._grams = {
                folded[at : at + _GRAM]
                for folded in map(str.casefold, self._forms)
                for at in range(len(folded) - _GRAM + 1)
            }
        run = run.casefold()
        return any(run[at : at + _GRAM] in self._grams for at in range(len(run) - _GRAM + 1))


def base64_of(octets: bytes, lead: int) -> str:
    """Return those characters of base64 that `octets`, behind `lead` others, determine alone."""
    coded = base64.b64encode(bytes(lead) + octets).decode()
    return coded[-(-8 * lead // 6) : 8 * (lead + len(octets)) // 6]

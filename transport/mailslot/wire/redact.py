"""Masking secrets that a server echoes, even truncated or encoded."""

from __future__ import annotations

import base64
import dataclasses
import re
from typing import TYPE_CHECKING, Final

from mailslot.wire.secret import MASK, Secret

if TYPE_CHECKING:
    from mailslot.wire.reply import Reply

_NGRAM: Final = 12
_MIN_EXACT: Final = 6
_WORD: Final = re.compile(rf"\S{{{_NGRAM},}}")


class Redactor:
    """Knows the secrets of one session and masks them in text.

    A server may echo a secret whole, truncated, in another case, or in base64 at any of three offsets. So a word is
    masked if it shares twelve consecutive characters with any of these encodings, and the whole text is masked if it
    does so with its blanks removed. Shorter secrets, and those with blanks, are masked where they occur.
    """

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._encodings: list[str] = []
        self._exact_matches: list[str] = []
        self._shortest = 0
        self._ngrams: set[str] | None = None

    def add(self, secret: Secret) -> None:
        """Add a secret to mask from now on."""
        text = secret.reveal()
        if not text or text in self._secrets:
            return
        self._secrets.add(text)
        self._encodings += [text, *(base64_of(text.encode(), lead) for lead in range(3))]
        exact = [form for form in self._encodings if form in self._secrets or len(form) >= _MIN_EXACT]
        self._exact_matches = sorted({form.casefold() for form in exact}, key=len, reverse=True)
        self._shortest = min(_NGRAM, *map(len, exact))
        self._ngrams = None

    def mask(self, text: str) -> str:
        """Return `text` with every occurrence of a known secret replaced by ``•••``."""
        if not self._exact_matches or len(text.casefold()) < self._shortest:
            return text
        text = self._mask_exact(text)
        if len(text) < _NGRAM:
            return text
        text = _WORD.sub(self._mask_word, text)
        # The secret may be split by blanks or line ends; then its place is unknown.
        return MASK if self._contains_ngram("".join(text.split())) else text

    def mask_reply(self, reply: Reply) -> Reply:
        """Return `reply` with its text masked; the same object if there is nothing to mask."""
        if not self._secrets:
            return reply
        text, enhanced = self.mask(reply.text), reply.enhanced and self.mask(reply.enhanced)
        if text == reply.text and enhanced == reply.enhanced:
            return reply
        return dataclasses.replace(reply, text=text, enhanced=enhanced)

    def _mask_exact(self, text: str) -> str:
        folded = text.casefold()
        for form in self._exact_matches:
            at = folded.find(form)
            while at >= 0:
                if len(folded) != len(text):
                    # Some letter becomes two by case folding, so positions do not correspond.
                    return MASK
                text = text[:at] + MASK + text[at + len(form) :]
                folded = folded[:at] + MASK + folded[at + len(form) :]
                at = folded.find(form, at + len(MASK))
        return text

    def _mask_word(self, match: re.Match[str]) -> str:
        return MASK if self._contains_ngram(match[0]) else match[0]

    def _contains_ngram(self, run: str) -> bool:
        if len(run) < _NGRAM:
            return False
        if self._ngrams is None:
            self._ngrams = {
                folded[at : at + _NGRAM]
                for folded in map(str.casefold, self._encodings)
                for at in range(len(folded) - _NGRAM + 1)
            }
        run = run.casefold()
        return any(run[at : at + _NGRAM] in self._ngrams for at in range(len(run) - _NGRAM + 1))


def base64_of(octets: bytes, offset: int) -> str:
    """Return the base64 characters that depend on `octets` alone if they follow `offset` other octets."""
    coded = base64.b64encode(bytes(offset) + octets).decode()
    return coded[-(-8 * offset // 6) : 8 * (offset + len(octets)) // 6]

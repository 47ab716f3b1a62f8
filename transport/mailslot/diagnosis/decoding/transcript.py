"""Splits a pasted text into tokens and SASL messages: a single one, or the lines of a dialogue."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, Literal

from mailslot.diagnosis.decoding.base64_text import decode_base64
from mailslot.diagnosis.decoding.findings import Piece
from mailslot.diagnosis.decoding.sasl_message import (
    are_swapped,
    describe_bearer,
    describe_challenge,
    describe_octets,
    looks_like_bearer,
    shown_user,
)
from mailslot.diagnosis.decoding.token import describe_token, is_token
from mailslot.oauth.response_body import parse_json_object
from mailslot.wire.redact import Redactor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailslot.diagnosis.decoding.findings import Finding

MAX_INPUT: Final = 256 * 1024
"""Octets that are inspected."""

MAX_PIECES: Final = 32
"""Tokens and messages that are described."""

MAX_LINES: Final = 4_096
"""Lines that are inspected."""

Role = Literal["", "user", "password"]
"""The next message of LOGIN."""

_MARK: Final = re.compile(
    r"""^\s*(?:\[?\d{1,4}[:./-]\d[\d:.,/\-TZ]*\]?\s+)*               # times
    (?:(?:c|s|client|server|send|sent|received?|reply)\s*:|[<>=~*|-]*[<>]\S{0,3}(?=\s))?\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_PYTHON: Final = re.compile(r"^b?'(.*)'$|^b?\"(.*)\"$")
_OFFER: Final = re.compile(r"^250[ -]|^\*|^CAPABILITY|^SASL ", re.IGNORECASE)
_AUTH: Final = re.compile(
    r"^(?:\S{1,16}\s+)?AUTH(?:ENTICATE)?\s+(XOAUTH2|OAUTHBEARER|PLAIN|LOGIN|NTLM|CRAM-MD5|SCRAM-[A-Z0-9-]+)(?:\s+(\S+(?:\n\S+)*))?",
    re.IGNORECASE,
)
_CHALLENGE: Final = re.compile(r"^(?:334|\+)(?:[ -](\S*))?$")
_WORD: Final = re.compile(r"[A-Za-z0-9+/=_.~!*$%-]{4,}")
_BEARER: Final = re.compile(r"((?:\bbearer\s+){1,3})([\w.~+/=!*$-]{8,})", re.IGNORECASE)
_EMBEDDED: Final = re.compile(r"[\w.~+/!*$%-]{8,}")
_ACKNOWLEDGEMENT: Final = b"\x01"
_CONTINUES: Final = 40
"""Characters of a line that may be continued on the next line."""

_TOKENS: Final = ("access_token", "refresh_token", "id_token")


def decode_pasted(text: str, now: float) -> list[list[Finding]]:
    """Return the findings about each token or message in a text; empty if none is recognized.

    The findings contain no token, no password, and nothing that may be one.

    Args:
        text: the text.
        now: the time, in seconds since the epoch.
    """
    text = text.strip("\ufeff \t\r\n")
    redactor = Redactor()
    whole = _describe_json(text, now, redactor) or _describe_unencoded(text, now, redactor)
    pieces = whole or _Dialogue(now, redactor).read(text)
    return [found for piece in pieces[:MAX_PIECES] if (found := piece.findings())]


def _describe_json(text: str, now: float, redactor: Redactor) -> list[Piece]:
    members = parse_json_object(text.encode("utf-8", "replace")) if text.startswith("{") else None
    if members is None:
        return []
    challenge = Piece(redactor)
    if describe_challenge(challenge, json.dumps(members).encode()) and not members.keys() & set(_TOKENS):
        return [challenge]
    pieces: list[Piece] = []
    for name in _TOKENS:
        if isinstance(token := members.get(name), str) and token:
            piece = Piece(redactor)
            piece.add(f"member_{name}")
            describe_token(piece, token.strip(), now, used_as_access_token=name == "access_token")
            pieces.append(piece)
    if pieces and isinstance(scope := members.get("scope"), str):
        pieces[0].add("scopes", scopes=scope.split())
    return pieces


def _describe_unencoded(text: str, now: float, redactor: Redactor) -> list[Piece]:
    if not looks_like_bearer(text):
        return []
    piece = Piece(redactor)
    describe_bearer(piece, text, now)
    piece.add("not_in_base64")
    return [piece]


class _Dialogue:
    """Reads a dialogue line by line, with the state from the previous line."""

    def __init__(self, now: float, redactor: Redactor) -> None:
        self._now = now
        self._redactor = redactor
        self._pieces: list[Piece] = []
        self._mechanism = ""
        self._role: Role = ""
        self._user = ""
        self._is_due = False

    def read(self, text: str) -> list[Piece]:
        """Return the pieces in a text."""
        for line in _joined(text):
            if len(self._pieces) >= MAX_PIECES:
                break
            if match := None if _OFFER.search(line) else _AUTH.search(line):
                self._command(match[1].upper(), match[2])
            elif match := _CHALLENGE.search(line):
                self._challenge(match[1] or "")
            elif _WORD.fullmatch("".join(line.split())) and (" " not in line or "\n" in line):
                self._message(line)
            else:
                self._embedded(line)
        return self._pieces

    def _command(self, mechanism: str, response: str | None) -> None:
        piece = Piece(self._redactor)
        piece.add("command", mechanism=mechanism)
        self._mechanism, self._role = mechanism, "user" if mechanism == "LOGIN" else ""
        self._is_due = True
        if response is not None and response != "=":
            self._describe(piece, response)
        self._pieces.append(piece)

    def _challenge(self, text: str) -> None:
        piece = Piece(self._redactor)
        decoded = decode_base64(text)
        if not text:
            piece.add("empty_challenge")
        elif decoded is None or not describe_octets(piece, decoded[0], self._now):
            piece.add("other_challenge")
        else:
            piece.add_all(decoded[1])
        self._is_due = True
        self._role = (
            "user" if "user_prompt" in piece.ids else "password" if "password_prompt" in piece.ids else self._role
        )
        self._pieces.append(piece)

    def _message(self, text: str) -> None:
        piece = Piece(self._redactor)
        if self._describe(piece, text):
            self._pieces.append(piece)

    def _describe(self, piece: Piece, text: str) -> bool:
        """Describe a client's message, or a token; return whether it was recognized."""
        joined = "".join(text.split())
        role, self._role = self._role, "password" if self._role == "user" else ""
        is_due, self._is_due = self._is_due, False
        if is_token(joined):
            describe_token(piece, joined, self._now, used_as_access_token=bool(self._mechanism))
            if joined != text:
                piece.add("token_with_blanks")
            if self._mechanism:
                piece.add("token_without_message", mechanism=self._mechanism)
            return True
        decoded = decode_base64(text)
        if decoded is None:
            return False
        known = self._describe_login(piece, decoded[0], role) or describe_octets(piece, decoded[0], self._now)
        if not known and is_due:
            piece.add("acknowledgement" if decoded[0] == _ACKNOWLEDGEMENT else "other_message")
            known = True
        if known:
            piece.add_all(decoded[1])
            self._compare(piece)
        return known

    def _describe_login(self, piece: Piece, octets: bytes, role: Role) -> bool:
        """Describe a message of LOGIN, whose meaning depends only on its position."""
        if not role or b"\0" in octets:
            return False
        try:
            word = octets.decode()
        except UnicodeDecodeError:
            return False
        if looks_like_bearer(word):
            return False
        if role == "user":
            self._user = word
            piece.add("login_user_name")
        else:
            # The user is not shown earlier, since both may have been swapped.
            swapped = are_swapped(self._user, word)
            piece.add("login_password")
            if swapped or self._user == word:
                piece.add("user_and_password_swapped" if swapped else "user_is_password")
            elif self._user:
                piece.add("sasl_user", user=shown_user(self._user, word))
        if word.rstrip("\r\n") != word:
            piece.add("line_break_at_end")
        return True

    def _compare(self, piece: Piece) -> None:
        """Add a finding if the message belongs to another mechanism than the one that was named."""
        found = piece.ids & {"xoauth2", "oauthbearer", "plain"}
        if self._mechanism and found and self._mechanism.lower() not in found:
            piece.add("other_mechanism", named=self._mechanism, sent=found.pop().upper())

    def _embedded(self, line: str) -> None:
        """Describe tokens within other text, such as a header."""
        for schemes, token in _BEARER.findall(line)[:MAX_PIECES]:
            piece = Piece(self._redactor)
            describe_token(piece, token, self._now, used_as_access_token=True)
            if len(schemes.split()) > 1:
                piece.add("bearer_twice")
            self._pieces.append(piece)
        sent = {token for _, token in _BEARER.findall(line)}
        words = [word for word in _EMBEDDED.findall(line) if word not in sent and is_token(word)]
        for token in list(dict.fromkeys(words))[:MAX_PIECES]:
            piece = Piece(self._redactor)
            describe_token(piece, token, self._now)
            self._pieces.append(piece)


def _joined(text: str) -> Iterator[str]:
    """Yield the lines without marks; wrapped lines are joined, with their line breaks."""
    collected = ""
    for raw in text.splitlines()[:MAX_LINES]:
        line = _unmarked(raw)
        # A continuation has no mark of its own, and a challenge is followed by the client's message.
        is_more = line == raw.strip() and bool(_WORD.fullmatch(line)) and not _CHALLENGE.search(collected)
        last = collected.rpartition("\n")[2].rpartition(" ")[2]
        if is_more and len(last) >= _CONTINUES and not last.endswith("="):
            collected = f"{collected}\n{line}"
            continue
        if collected:
            yield collected
        collected = line
    if collected:
        yield collected


def _unmarked(line: str) -> str:
    """Return a line without timestamps, marks of the speaker, and the quoting of Python's clients."""
    found = line[_MARK.match(line).end() :].strip()  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess] - it fits the empty text
    if quoted := _PYTHON.match(found):
        found = (quoted[1] or quoted[2] or "").replace("\\r", "").replace("\\n", "").strip()
    return found.strip("\"'")

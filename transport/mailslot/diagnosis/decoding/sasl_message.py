"""Describes one SASL message, after it was decoded from base64."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mailslot.diagnosis.decoding.base64_text import decode_base64
from mailslot.diagnosis.decoding.token import describe_token, is_token
from mailslot.sasl.bearer import parse_error_challenge
from mailslot.wire.secret import MASK

if TYPE_CHECKING:
    from mailslot.diagnosis.decoding.findings import Piece

MAX_USER: Final = 20
"""Characters of the longest user name that is shown although it is not an address; those of Amazon SES have 20."""

_WRITTEN_OUT: Final = re.compile(r"\^A|\\x01|\\u0001|\\001|%01|<SOH>|\N{SYMBOL FOR START OF HEADING}", re.IGNORECASE)
"""The ways in which people write the separator of bearer mechanisms, octet 1."""

_FIELD: Final = "auth="
_SCHEME: Final = re.compile(r"\s*bearer(?:\s+|$)", re.IGNORECASE)
_GS2_USER: Final = re.compile(r"a=([^,\x01]*)")
_ADDRESS: Final = re.compile(r"[\w.+'=-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_HOST: Final = re.compile(r"[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}\.?|\[?[\da-fA-F:.]{2,45}\]?")
_SCRAM: Final = re.compile(r"[nyp][^,]*,(?:a=[^,]*)?,n=([^,]*),r=")
_USER_PROMPT: Final = re.compile(r"\s*user ?name:?\s*\0?|\s*login:?\s*", re.IGNORECASE)
_PASSWORD_PROMPT: Final = re.compile(r"\s*pass ?word:?\s*\0?", re.IGNORECASE)
_CRAM_CHALLENGE: Final = re.compile(r"<[^<>\s]+@[^<>\s]*>")
_CRAM_RESPONSE: Final = re.compile(r"(\S+) [\da-f]{32}")


def looks_like_bearer(text: str) -> bool:
    """Return whether a text is a bearer mechanism's message without base64."""
    return bool(re.match(r"\s*(?:user=|[nyp](?:=[^,]*)?,)", text)) and "auth=" in text


def describe_bearer(piece: Piece, text: str, now: float) -> None:
    """Add the contents of a message of XOAUTH2 or OAUTHBEARER, and faults of its form."""
    if text.endswith(("\n", "\r")):
        piece.add("line_break_at_end")
        text = text.rstrip("\r\n")
    is_oauthbearer = not text.lstrip().startswith("user=")
    piece.add("oauthbearer" if is_oauthbearer else "xoauth2")
    if "\x01" not in text and _WRITTEN_OUT.search(text):
        piece.add("separators_written_out")
        text = _WRITTEN_OUT.sub("\x01", text)
    head, found, value = text.partition(f"\x01{_FIELD}")
    if not found:
        head, _, value = text.partition(_FIELD)
    if "\x01" not in text:
        piece.add("separators_missing")
    elif not text.endswith("\x01\x01"):
        piece.add("end_missing")
    user = _gs2_user(piece, head) if is_oauthbearer else head.split("\x01")[0].lstrip().removeprefix("user=")
    token = value.split("\x01")[0]
    if _ADDRESS.fullmatch(_SCHEME.sub("", token).strip()):
        piece.add("user_and_token_swapped")
        return
    _add_user(piece, user)
    _add_server(piece, head)
    _describe_field(piece, token, user, now)


def _gs2_user(piece: Piece, head: str) -> str:
    """Return the user in a GS2 header (RFC 5801 section 4), and check its form."""
    header = head.split("\x01", maxsplit=1)[0]
    if not re.fullmatch(r"(?:[ny]|p=[\w.-]+),(?:a=[^,]*)?,", header):
        piece.add("gs2_header_wrong")
    match = _GS2_USER.search(header)
    return re.sub("=2C", ",", match[1], flags=re.IGNORECASE).replace("=3D", "=") if match else ""


def _add_user(piece: Piece, user: str) -> None:
    if not user.strip():
        piece.add("user_missing")
        return
    piece.add("sasl_user", user=shown_user(user))
    if user != user.strip():
        piece.add("user_with_blanks")


def _add_server(piece: Piece, head: str) -> None:
    fields = dict(part.split("=", 1) for part in head.split("\x01")[1:] if "=" in part)
    if "host" in fields:
        host, port = fields["host"], fields.get("port", "")
        is_name = len(host) <= MAX_USER or _HOST.fullmatch(host)
        piece.add("server", host=host if is_name else MASK, port=port if port.isdecimal() else "?")


def _describe_field(piece: Piece, value: str, user: str, now: float) -> None:
    """Describe the field ``auth``: the scheme and the token."""
    schemes = 0
    while scheme := _SCHEME.match(value):
        schemes, value = schemes + 1, value[scheme.end() :]
    token = value.strip().strip("\"'<>")
    if not token:
        piece.add("token_missing")
        return
    if schemes != 1:
        piece.add("bearer_twice" if schemes else "bearer_missing")
    if token != value.strip():
        piece.add("token_quoted")
    if len(token.split()) > 1 or value != value.strip():
        piece.add("token_with_blanks")
    describe_token(piece, "".join(token.split()), now, user=shown_user(user), used_as_access_token=True)


def describe_octets(piece: Piece, octets: bytes, now: float) -> bool:
    """Add the contents of a decoded message.

    Returns:
        whether it was recognized.
    """
    if octets.startswith(b"NTLMSSP\0"):
        piece.add("ntlm")
        return True
    if octets.lstrip().startswith(b"{"):
        return describe_challenge(piece, octets)
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        return False
    if looks_like_bearer(text):
        describe_bearer(piece, text, now)
    elif match := _SCRAM.match(text):
        piece.add("scram", user=shown_user(match[1].replace("=2C", ",").replace("=3D", "=")))
    elif "\0" in text and not _USER_PROMPT.fullmatch(text) and not _PASSWORD_PROMPT.fullmatch(text):
        return _describe_plain(piece, text)
    else:
        return _describe_word(piece, text, now)
    return True


def _describe_word(piece: Piece, text: str, now: float) -> bool:
    """Describe a message of one word or prompt, of any mechanism."""
    word = text.strip()
    if _USER_PROMPT.fullmatch(text):
        piece.add("user_prompt")
    elif _PASSWORD_PROMPT.fullmatch(text):
        piece.add("password_prompt")
    elif _CRAM_CHALLENGE.fullmatch(word):
        piece.add("cram_md5_challenge")
    elif match := _CRAM_RESPONSE.fullmatch(word):
        piece.add("cram_md5_response", user=shown_user(match[1]))
    elif _ADDRESS.fullmatch(word):
        piece.add("login_user", user=word)
    elif is_token(word):
        piece.add("token_in_base64")
        describe_token(piece, word, now, used_as_access_token=True)
    else:
        return _describe_encoded_twice(piece, word, now)
    if text != word and text.rstrip("\r\n") != text:
        piece.add("line_break_at_end")
    return True


def _describe_encoded_twice(piece: Piece, word: str, now: float) -> bool:
    decoded = decode_base64(word) if len(word) >= 16 and " " not in word else None
    octets = b"" if decoded is None else decoded[0]
    if not (looks_like_bearer(octets.decode("utf-8", "replace")) or b"\0" in octets):
        return False
    if not describe_octets(piece, octets, now):
        return False
    piece.add("encoded_twice")
    return True


def describe_challenge(piece: Piece, octets: bytes) -> bool:
    """Add the contents of an error challenge (RFC 7628 section 3.2.2)."""
    members = parse_error_challenge(octets)
    if not {"status", "schemes", "scope", "openid-configuration"} & members.keys():
        return False
    piece.add("error_challenge", status=members.get("status", "?"))
    if scope := members.get("scope"):
        piece.add("challenge_scope", scope=scope)
    if schemes := members.get("schemes"):
        piece.add("challenge_schemes", schemes=schemes)
    return True


def _describe_plain(piece: Piece, text: str) -> bool:
    """Describe ``authzid NUL authcid NUL password`` (RFC 4616).

    If the form is wrong, any part may be the password, so none is shown.
    """
    parts = text.split("\0")
    if not all(part.isprintable() for part in "".join(parts).splitlines()):
        return False
    piece.add("plain")
    if len(parts) != 3:
        piece.add("plain_parts_wrong", count=str(len(parts)))
        return True
    authorization, user, password = parts
    if not password:
        piece.add("password_missing")
    elif not user.strip():
        piece.add("user_missing")
    elif are_swapped(user, password):
        piece.add("user_and_password_swapped")
    else:
        piece.add("sasl_user", user=MASK if user == password else shown_user(user, password))
        if authorization and authorization != user:
            piece.add("acts_for", user=MASK if authorization == password else shown_user(authorization, password))
        piece.add("password_present")
        if password.rstrip("\r\n") != password:
            piece.add("line_break_at_end")
    return True


def are_swapped(user: str, secret: str) -> bool:
    """Return whether user name and secret seem to be swapped, judging by their forms."""
    return bool(_ADDRESS.fullmatch(secret.strip())) and not _ADDRESS.fullmatch(user.strip())


def shown_user(user: str, secret: str = "") -> str:
    """Return a user name; masked if it may be the secret, by its length or because the secret looks like an address."""
    if _ADDRESS.fullmatch(user.strip()):
        return user
    return MASK if len(user) > MAX_USER or "@" in secret else user

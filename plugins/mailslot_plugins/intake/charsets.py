"""Octets of text decoded as mail clients do it: by the charset they are said to be in, and where that is wrong, better.

Names follow the WHATWG Encoding Standard where mails are concerned: ISO-8859-1 and US-ASCII are Windows-1252, and the
charsets of East Asia are the larger ones that programs mean by their names. UTF-7 is refused, as everywhere today: it
hides letters from whoever looks for them.
"""

from __future__ import annotations

import codecs
import re
from encodings.aliases import aliases
from typing import Final

_WINDOWS: Final = "cp1252"
_WIDER: Final = {
    **dict.fromkeys(("ascii", "us_ascii", "iso8859_1", "iso_8859_1", "latin_1", "latin1", "x_ansi"), _WINDOWS),
    **dict.fromkeys(("iso_8859_1_windows_3_1_latin_1", "ansi", "x_cp1252", "windows_1252"), _WINDOWS),
    **dict.fromkeys(("gb2312", "gbk", "gb_2312_80", "gb_2312", "x_gbk", "euc_cn", "cp936", "hz_gb"), "gb18030"),
    **dict.fromkeys(("shift_jis", "sjis", "x_sjis", "shiftjis", "ms_kanji", "windows_31j", "x_ms_cp932"), "cp932"),
    **dict.fromkeys(("euc_kr", "ks_c_5601_1987", "ks_c_5601", "ksc5601", "korean", "windows_949", "uhc"), "cp949"),
    **dict.fromkeys(("big5", "x_big5", "big5_tw", "cn_big5", "x_x_big5"), "big5hkscs"),
    **dict.fromkeys(("iso_2022_jp", "iso2022_jp", "csiso2022jp"), "iso2022_jp_ext"),
    **dict.fromkeys(("x_euc_jp", "euc_jp", "eucjp"), "euc_jp"),
    **dict.fromkeys(("iso8859_9", "iso_8859_9", "latin5"), "cp1254"),
    **dict.fromkeys(("iso8859_11", "iso_8859_11", "tis_620", "tis620"), "cp874"),
    **dict.fromkeys(("iso_8859_8_i", "iso_8859_8_e", "iso8859_8_i"), "iso8859_8"),
    **dict.fromkeys(("koi8", "koi", "cskoi8r", "koi8r", "koi8_r"), "koi8_r"),
    **dict.fromkeys(("x_mac_roman", "macintosh", "mac", "x_macroman"), "mac_roman"),
    **dict.fromkeys(("utf8", "utf_8", "unicode_1_1_utf_8", "x_unicode20utf8", "utf_8n"), "utf_8"),
    **dict.fromkeys(("utf_16", "utf16", "unicode"), "utf_16"),
}
_REFUSED: Final = frozenset({"utf_7", "base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec"})
_TEXT: Final = frozenset({*aliases.values(), "cp874", "koi8_u"}) - _REFUSED - {"zlib_codec", "mbcs", "oem"}
_UNKNOWN: Final = re.compile(r"[^a-z0-9]+")

_RATHER: Final = {"iso2022_jp_ext": ("utf_8", "euc_jp", "cp932")}
"""What text really is that is not in the charset that it is said to be in."""

_C1: Final = {
    octet: bytes([octet]).decode(_WINDOWS) for octet in range(0x80, 0xA0) if octet not in {0x81, 0x8D, 0x8F, 0x90, 0x9D}
}
"""What Windows-1252 has where ISO-8859-1 has controls; five octets mean nothing in either."""


def codec_of(label: str) -> str | None:
    """Return the codec for a charset's name, whatever its form; None for one that is not known or not used."""
    name = _UNKNOWN.sub("_", label.casefold()).strip("_")[:60]
    if name in _WIDER:
        return _WIDER[name]
    try:
        found = codecs.lookup(name).name.replace("-", "_") if name.isascii() and name else ""
    except (LookupError, ValueError):
        return None
    found = _WIDER.get(found, found)
    return found if found in _TEXT else None


def decode(octets: bytes, label: str = "", other: str = "") -> str:
    """Return text; it never fails, and loses no letter that can be told.

    Args:
        octets: of it.
        label: the charset that they are said to be in; may be empty.
        other: the charset to try where `label` says nothing, such as that of the mail's text.
    """
    codec = codec_of(label)
    if codec in {None, _WINDOWS}:
        # Who says US-ASCII, or nothing, and has more than that, means UTF-8 where it is valid.
        if octets.isascii() and codec_of(other) in {None, _WINDOWS, "utf_8"}:
            return octets.decode("ascii")
        if codec is None or "ascii" in label.casefold():
            return _guessed(octets, other)
        return _windows(octets)
    assert codec is not None  # noqa: S101 - it is in neither of both
    text = octets.decode(codec, "replace")
    if codec == "utf_8" and "\ufffd" in text:
        text = _damaged(octets, text, other)
    elif "\ufffd" in text:
        text = _in_another(octets, _RATHER.get(codec, ("utf_8",))) or text
    return text.removeprefix("\ufeff")


def _guessed(octets: bytes, other: str) -> str:
    try:
        return octets.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        pass
    codec = codec_of(other)
    if codec not in {None, _WINDOWS, "utf_8"}:
        assert codec is not None  # noqa: S101 - as above
        text = octets.decode(codec, "replace")
        if "\ufffd" not in text:
            return text
    return _windows(octets)


def _damaged(octets: bytes, text: str, other: str) -> str:
    """Return text that is said to be UTF-8 and is not valid: another charset, unless most of it is UTF-8."""
    lost = text.count("\ufffd")
    whole = sum(letter > "\x7f" for letter in text) - lost
    return text if whole >= lost else _guessed(octets, other)


def _in_another(octets: bytes, several: tuple[str, ...]) -> str:
    """Return text in the first charset that all of it is valid in; empty for none."""
    for codec in several:
        # Escapes between charsets mean nothing in any other.
        if b"\x1b" not in octets:
            try:
                return octets.decode(codec)
            except UnicodeDecodeError:
                pass
    return ""


def _windows(octets: bytes) -> str:
    return octets.decode("latin-1").translate(_C1)

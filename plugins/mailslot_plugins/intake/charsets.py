"""Decodes text as mail clients do: by the declared charset, or by a better one if the declaration is wrong.

Labels follow the WHATWG Encoding Standard: ISO-8859-1 and US-ASCII mean Windows-1252, and East Asian labels mean the
larger charsets that programs use under these names. UTF-7 is refused, because it can hide characters from filters.
"""

from __future__ import annotations

import codecs
import re
from encodings.aliases import aliases
from typing import Final

_WINDOWS: Final = "cp1252"
_ALIASES: Final = {
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
_REFUSED_CODECS: Final = frozenset(
    {"utf_7", "base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec"}
)
_TEXT_CODECS: Final = (
    frozenset({*aliases.values(), "cp874", "koi8_u"}) - _REFUSED_CODECS - {"zlib_codec", "mbcs", "oem"}
)
_NOT_IN_LABEL: Final = re.compile(r"[^a-z0-9]+")

_ALTERNATIVES: Final = {"iso2022_jp_ext": ("utf_8", "euc_jp", "cp932")}
"""The charsets to try if text is not valid in the declared one."""

_C1: Final = {
    octet: bytes([octet]).decode(_WINDOWS) for octet in range(0x80, 0xA0) if octet not in {0x81, 0x8D, 0x8F, 0x90, 0x9D}
}
"""The characters of Windows-1252 in the range of the C1 controls; five octets are undefined."""


def find_codec(label: str) -> str | None:
    """Return the codec for a charset label in any spelling; None if it is unknown or refused."""
    name = _NOT_IN_LABEL.sub("_", label.casefold()).strip("_")[:60]
    if name in _ALIASES:
        return _ALIASES[name]
    try:
        found = codecs.lookup(name).name.replace("-", "_") if name.isascii() and name else ""
    except (LookupError, ValueError):
        return None
    found = _ALIASES.get(found, found)
    return found if found in _TEXT_CODECS else None


def decode(octets: bytes, label: str = "", fallback: str = "") -> str:
    """Decode text; never fails.

    Args:
        octets: the text.
        label: the declared charset; may be empty.
        fallback: the charset to try without a label, for example that of the mail's text.
    """
    codec = find_codec(label)
    if codec in {None, _WINDOWS}:
        # Text that is declared as US-ASCII, or not at all, and is valid UTF-8 is UTF-8.
        if octets.isascii() and find_codec(fallback) in {None, _WINDOWS, "utf_8"}:
            return octets.decode("ascii")
        if codec is None or "ascii" in label.casefold():
            return _decode_unlabelled(octets, fallback)
        return _decode_windows(octets)
    assert codec is not None  # noqa: S101 - checked above
    text = octets.decode(codec, "replace")
    if codec == "utf_8" and "\ufffd" in text:
        text = _decode_damaged_utf8(octets, text, fallback)
    elif "\ufffd" in text:
        text = _decode_with_any(octets, _ALTERNATIVES.get(codec, ("utf_8",))) or text
    return text.removeprefix("\ufeff")


def _decode_unlabelled(octets: bytes, fallback: str) -> str:
    try:
        return octets.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        pass
    codec = find_codec(fallback)
    if codec not in {None, _WINDOWS, "utf_8"}:
        assert codec is not None  # noqa: S101 - checked above
        text = octets.decode(codec, "replace")
        if "\ufffd" not in text:
            return text
    return _decode_windows(octets)


def _decode_damaged_utf8(octets: bytes, text: str, fallback: str) -> str:
    """Decode invalid UTF-8: as UTF-8 if most of it is valid, else in another charset."""
    lost = text.count("\ufffd")
    valid = sum(letter > "\x7f" for letter in text) - lost
    return text if valid >= lost else _decode_unlabelled(octets, fallback)


def _decode_with_any(octets: bytes, codecs_to_try: tuple[str, ...]) -> str:
    """Decode text in the first charset in which it is valid; empty if there is none."""
    for codec in codecs_to_try:
        # Text with ISO-2022 escapes is in no other charset.
        if b"\x1b" not in octets:
            try:
                return octets.decode(codec)
            except UnicodeDecodeError:
                pass
    return ""


def _decode_windows(octets: bytes) -> str:
    return octets.decode("latin-1").translate(_C1)

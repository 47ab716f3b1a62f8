"""Header fields as programs write them: raw octets, encoded words and parameters, also malformed."""

from __future__ import annotations

import pytest

from intake.opening import open_mail
from mailslot_plugins.intake.addresses import parse_addresses
from mailslot_plugins.intake.charsets import decode, find_codec
from mailslot_plugins.intake.header_text import decode_header

HEAD = b"From: alice@example.test\r\n"
LATIN = "Übersicht für März".encode("latin-1")


@pytest.mark.parametrize(
    ("field", "subject"),
    [
        ("Übersicht".encode(), "Übersicht"),
        (LATIN, "Übersicht für März"),
        (b"\x93Zitat\x94 \x80", "“Zitat” €"),
        (b"=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        (b"=?UTF-8?q?Gr=c3=bc=C3=9fe?=", "Grüße"),
        (b"=?utf-8?B?R3LDvMOfZQ==?=", "Grüße"),
        (b"=?utf-8?B?R3LDvMOfZQ?=", "Grüße"),
        (b"=?utf-8?B?R3LD vMOfZQ==?=", "Grüße"),
        (b"=?utf-8?B?R3LDvMOfZQ==", "Grüße"),
        (b"=?utf-8?Q?one word?= and more", "one word and more"),
        (b"=?utf-8*de?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        (b"=?utf-8?Q?Gr=C3?=\r\n =?utf-8?Q?=BC=C3=9Fe?=", "Grüße"),
        (b"=?utf-8?Q?a?= =?utf-8?Q?b?=", "ab"),
        (b"a =?utf-8?Q?b?= c", "a b c"),
        (b"a=?utf-8?Q?b?=c", "abc"),
        (b'"=?utf-8?Q?=C3=9C?="', '"Ü"'),
        (b"=?iso-8859-1?Q?=93x=94?=", "“x”"),
        (b"=?us-ascii?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        (b"=?x-unknown?Q?Gr=FC=DFe?=", "Grüße"),
        (b"=?gb2312?B?xOO6w+lG?=", "你好镕"),
        (b"=?shift_jis?B?k/qWe4dA?=", "日本①"),
        (b"=?euc-kr?B?x9Gx2w==?=", "한글"),
        (b"=?big5?B?pKSk5Q==?=", "中文"),
        (b"=?koi8-r?B?8NLJ18XU?=", "Привет"),
        (b"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
        (b"=?utf-7?Q?+AOQ-?=", "+AOQ-"),
        (b"=?utf-8?X?a?=", "=?utf-8?X?a?="),
    ],
)
def test_subjects(field: bytes, subject: str) -> None:
    assert open_mail(b"Subject: " + field + b"\r\n" + HEAD + b"\r\nx").subject == subject


def test_raw_octets_of_a_field_use_the_charset_of_the_text() -> None:
    mail = open_mail(
        b"Subject: \xf0\xd2\xc9\xd7\xc5\xd4\r\n" + HEAD + b"Content-Type: text/plain; charset=koi8-r\r\n\r\nx"
    )
    assert mail.subject == "Привет"


@pytest.mark.parametrize(
    ("field", "name"),
    [
        (b'Content-Disposition: attachment; filename="\xc3\x9cbersicht.pdf"', "Übersicht.pdf"),
        (b'Content-Disposition: attachment; filename="\xdcbersicht.pdf"', "Übersicht.pdf"),
        (b"Content-Disposition: attachment; filename=\xdcbersicht.pdf", "Übersicht.pdf"),
        (b"Content-Disposition: attachment; filename=my file.pdf", "my file.pdf"),
        (b"Content-Disposition: attachment; filename=scan (1).pdf; size=3", "scan (1).pdf"),
        (b'Content-Disposition: attachment; filename="open end.pdf', "open end.pdf"),
        (b'Content-Disposition: attachment; filename="a\\"b.pdf"', "a b.pdf"),
        (b'Content-Disposition: attachment; filename="C:\\scans\\new.pdf"', "new.pdf"),
        (b"Content-Disposition: attachment; filename*=utf-8''%C3%9Cbersicht.pdf", "Übersicht.pdf"),
        (b"Content-Disposition: attachment; filename*=\"utf-8''%C3%9Cbersicht.pdf\"", "Übersicht.pdf"),
        (b"Content-Disposition: attachment; filename*0*=utf-8''%C3%9Cber; filename*1=sicht.pdf", "Übersicht.pdf"),
        (b"Content-Disposition: attachment; filename*1=sicht.pdf; filename*0*=utf-8''%C3%9Cber", "Übersicht.pdf"),
        (b"Content-Disposition: attachment; filename*0=a; filename*1=b.pdf", "ab.pdf"),
        (b"Content-Disposition: attachment; filename*1=a; filename*2=b.pdf", "ab.pdf"),
        (b"Content-Disposition: attachment; filename*=%C3%9C.pdf", "Ü.pdf"),
        (b"Content-Disposition: attachment; filename*=x.pdf; filename=y.pdf", "x.pdf"),
        (b'Content-Disposition: attachment; filename="=?utf-8?Q?=C3=9Cbersicht.pdf?="', "Übersicht.pdf"),
        (b"Content-Disposition: attachment\r\nContent-Type: application/pdf; name*=iso-8859-1'de'%DC.pdf", "Ü.pdf"),
        (b"Content-Disposition: attachment;;; filename = x.pdf ;", "x.pdf"),
        (b"Content-Disposition: attachment filename=x.pdf", "x.pdf"),
        (b"Content-Disposition: attachment; filename*0*=x''%; filename*1*=%4", "%%4"),
    ],
)
def test_attachment_names(field: bytes, name: str) -> None:
    [part] = open_mail(HEAD + field + b"\r\n\r\nx").parts
    assert part.name == name


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("a@example.com <a@example.com>", ["a@example.com"]),
        ('"a@example.com" <a@example.com>', ["a@example.com"]),
        ("'a@example.com' <a@example.com>", ["a@example.com"]),
        ("A. Müller <a@x.test>", ["a@x.test"]),
        ("Müller, Alice <a@x.test>", ["a@x.test"]),
        ('"Müller, Alice" <a@x.test>', ["a@x.test"]),
        ("a@x.test (Alice (at home))", ["a@x.test"]),
        ("<a@x.test>", ["a@x.test"]),
        ("Alice < a@x.test >", ["a@x.test"]),
        ("=?utf-8?Q?evil=40x.test=2C?= <a@x.test>", ["a@x.test"]),
        ("Friends: a@x.test, b@x.test;", ["a@x.test", "b@x.test"]),
        ("undisclosed-recipients:;", []),
        ("a@x.test, b@x.test", ["a@x.test", "b@x.test"]),
        # Nobody gets through by what stands in another's place.
        ("alice@office.test <evil@x.test>", ["evil@x.test"]),
        ('"alice@office.test" <evil@x.test>', ["evil@x.test"]),
        ("evil@x.test (alice@office.test)", ["evil@x.test"]),
        ("<alice@office.test> <evil@x.test>", ["", ""]),
        ("<evil@x.test>, <alice@office.test>", ["evil@x.test", "alice@office.test"]),
        ("evil@x.test alice@office.test", [""]),
        ("alice@office.test@x.test", [""]),
        ("<alice@office.test", ["", ""]),
        ("alice@office.test>", ["", ""]),
        ('"alice@office.test', [""]),
        ("alice@office.test (", [""]),
        ('"alice"@office.test', ["", ""]),
        ("<@x.test:alice@office.test>", [""]),
        ("alice@office.test\0evil", [""]),
        ("alice@off\u0131ce.test", ["alice@off\u0131ce.test"]),
        ("alice@o\ufb03ce.test", [""]),
        ("alice@office.te\u017ft", [""]),
        ("nobody", [""]),
        ("", []),
    ],
)
def test_addresses(value: str, found: list[str]) -> None:
    assert parse_addresses(value) == found


def test_a_damaged_header_line_loses_nothing_else() -> None:
    mail = open_mail(
        b"From here on\r\n" + HEAD + b"this is no field\r\nSubject: x\r\nContent-Type : text/plain\r\n\r\ntext"
    )
    assert (mail.senders, mail.subject, mail.text) == (("alice@example.test",), "x", "text")
    mail = open_mail(HEAD + b"junk\r\nFrom: evil@x.test\r\n\r\ntext")
    assert mail.senders == ("alice@example.test", "evil@x.test"), "nobody hides behind a damaged line"
    mail = open_mail(HEAD + b"Subject: x\r\nHere the text begins.\r\nIt goes on.\r\n\r\nAnd on.")
    assert mail.text.startswith("Here the text begins.")


def test_an_mbox_separator_is_skipped() -> None:
    for front in (b"From alice@example.test Sun Nov 29 17:00:00 2026\r\n", b">From alice Sun Nov\r\n"):
        mail = open_mail(front + HEAD + b"Subject: x\r\n\r\ntext")
        assert (mail.senders, mail.subject, mail.text) == (("alice@example.test",), "x", "text")


@pytest.mark.parametrize(
    ("octets", "label", "text"),
    [
        ("Grüße".encode(), "us-ascii", "Grüße"),
        ("Grüße".encode("latin-1"), "us-ascii", "Grüße"),
        (b"\x80 5", "iso-8859-1", "€ 5"),
        (b"\x80 5 \x81", "windows-1252", "€ 5 \x81"),
        ("Grüße".encode("latin-1"), "utf-8", "Grüße"),
        ("Grüße Größe".encode()[:-1] + b"\xff", "utf-8", "Grüße Größ\ufffd"),
        ("Grüße".encode(), "", "Grüße"),
        ("Grüße".encode("utf-8-sig"), "utf8", "Grüße"),
        ("Grüße".encode("utf-16"), "utf-16", "Grüße"),
        ("你好".encode("gb18030"), "GB_2312-80", "你好"),
        ("漢字①".encode("cp932"), "x-sjis", "漢字①"),
        ("한글".encode("cp949"), "ks_c_5601-1987", "한글"),
        ("Привет".encode("koi8-r"), "KOI8-R", "Привет"),
        ("漢字".encode("euc_jp"), "iso-2022-jp", "漢字"),
        ("漢字 é".encode(), "iso-2022-jp", "漢字 é"),
        ("漢字".encode("iso2022_jp") + b"\xff", "iso-2022-jp", "漢字\ufffd"),
        ("Grüße, Ærø".encode(), "big5", "Grüße, Ærø"),
        (b"+AOQ-", "utf-7", "+AOQ-"),
        (b"abc", "rot13", "abc"),
        (b"abc", "no-such", "abc"),
    ],
)
def test_charsets(octets: bytes, label: str, text: str) -> None:
    assert decode(octets, label) == text


@pytest.mark.parametrize(
    "label", ["rot13", "idna", "base64", "zlib", "unicode_escape", "utf-7", "punycode", "x" * 9999, "ü"]
)
def test_codecs_other_than_text_are_refused(label: str) -> None:
    assert find_codec(label) is None


def test_a_subject_of_encoded_words_without_end_takes_no_time() -> None:
    decode_header(b"=?a?q?" * 100_000)

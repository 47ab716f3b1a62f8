"""Mails with malformed structure, as people send them."""

from __future__ import annotations

import base64
import binascii
import os
import struct
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from intake.opening import open_mail
from mailslot_plugins.intake.limits import Limits
from mailslot_plugins.intake.mime import read_mail
from mailslot_plugins.intake.refusal import IntakeRefusedError

if TYPE_CHECKING:
    from mailslot_plugins.intake.mail import OpenedMail

HEAD = b"From: alice@example.test\r\nSubject: x\r\n"
SCAN = (Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf").read_bytes()
LINES = base64.encodebytes(SCAN)
PDF = b"Content-Type: application/pdf; name=scan.pdf\r\n"


def sizes(mail: OpenedMail) -> list[tuple[str, int]]:
    return [(part.kind, part.size) for part in mail.parts]


@pytest.mark.parametrize(
    "encoding",
    [b"base64 ", b"BASE64", b"base64 (of course)", b'"base64"', b"base64;", b"(a comment) Base64", b"\tbase64\r\n "],
)
def test_names_of_an_encoding(encoding: bytes) -> None:
    mail = open_mail(HEAD + PDF + b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + LINES)
    assert sizes(mail) == [("pdf", len(SCAN))]


@pytest.mark.parametrize(
    ("declared", "between", "end"),
    [
        (b'"a b"', b"a b", b"--a b--"),
        (b'"--a\r\n\tb"', b"--ab", b"----ab--"),
        (b'"a\r\n b"', b"a b", b"--a b--"),
        (b'"ab  "', b"ab", b"--ab--"),
        (b"ab (a comment)", b"ab", b"--ab--"),
        (b'"(ab)"', b"(ab)", b"--(ab)--"),
        (b"ab; x=y", b"ab", b"--ab--"),
        (b"ab", b"ab \t", b"--ab--"),
        (b"ab", b"ab", b""),
        (b"another", b"ab", b"--ab--"),
        (b'""', b"ab", b"--ab--"),
    ],
)
def test_boundaries(declared: bytes, between: bytes, end: bytes) -> None:
    head = HEAD + b"Content-Type: multipart/mixed; boundary=" + declared + b"\r\n\r\n"
    part = b"\r\n--" + between + b"\r\n"
    mail = open_mail(
        head
        + part
        + b"Content-Type: text/plain\r\n\r\nhello"
        + part
        + PDF
        + b"Content-Transfer-Encoding: base64\r\n\r\n"
        + LINES
        + b"\r\n"
        + end
    )
    assert mail.text == "hello"
    assert sizes(mail) == [("pdf", len(SCAN))]


def test_a_nested_multipart_without_end() -> None:
    mail = open_mail(
        HEAD + b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n"
        b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nplain\r\n"
        b"--b\r\nContent-Type: text/html\r\n\r\n<p>rich</p>\r\n--a\r\n" + PDF + b"\r\n" + SCAN[:500] + b"\r\n--a--\r\n"
    )
    assert mail.text == "plain"
    assert len(mail.parts) == 1


def test_an_attachment_of_a_nested_mail() -> None:
    inner = HEAD + PDF + b"Content-Transfer-Encoding: base64\r\n\r\n" + LINES
    for encoding, body in ((b"7bit", inner), (b"base64", base64.encodebytes(inner)), (b"8bit", b"\r\n" + inner)):
        mail = open_mail(
            HEAD + b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body
        )
        assert sizes(mail) == [("pdf", len(SCAN))], encoding


def test_a_multipart_without_delimiters_is_text() -> None:
    assert open_mail(HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\njust text").text == "just text"


def test_macintosh_line_ends() -> None:
    assert open_mail((HEAD + b"\r\nhello").replace(b"\r\n", b"\r")).text == "hello"


def test_a_list_footer_is_not_part_of_a_file() -> None:
    body = LINES + b"\r\n_______________\r\nlist mailing list\r\n"
    mail = open_mail(HEAD + PDF + b"Content-Transfer-Encoding: base64\r\n\r\n" + body)
    assert sizes(mail) == [("pdf", len(SCAN))]


def test_a_text_that_is_wrongly_declared_as_base64() -> None:
    head = HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n"
    assert open_mail(head + b"Hello, you there.\r\nHow are you?\r\n").text.split()[0] == "Hello,"
    damaged = base64.encodebytes(b"Hello. " * 100).replace(b"\n", b"\n\xd1\x80\xd0\xb8 !!\n", 1)
    assert "Hello. Hello." in open_mail(head + damaged).text


@pytest.mark.parametrize(
    ("octets", "charset", "text"),
    [
        ("漢字".encode("iso2022_jp"), "iso-2022-jp", "漢字"),
        ("漢字".encode("cp932"), "shift_jis", "漢字"),
        ("Grüße €".encode("cp1252"), "iso-8859-1", "Grüße €"),
        ("Grüße".encode(), "us-ascii", "Grüße"),
        ("Grüße".encode("utf-16"), "utf-16", "Grüße"),
    ],
)
def test_text_files_are_converted_to_utf_8(tmp_path: Path, octets: bytes, charset: str, text: str) -> None:
    (tmp_path / "mail").write_bytes(
        HEAD
        + f"Content-Type: text/plain; charset={charset}; name=a.txt\r\n".encode()
        + b"Content-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(octets)
    )
    with chdir(tmp_path):
        [part] = read_mail({"path": "mail"}, Limits())["parts"]
        assert part["kind"] == "text"
        assert Path(part["path"]).read_text("utf-8") == text


def uuencoded(octets: bytes) -> bytes:
    lines = [binascii.b2a_uu(octets[at : at + 45]) for at in range(0, len(octets), 45)]
    return b"begin 644 scan.pdf\r\n" + b"".join(lines) + b"`\r\nend\r\n"


def yencoded(octets: bytes) -> bytes:
    data = bytearray()
    for octet in octets:
        code = (octet + 42) & 255
        data += bytes([0x3D, (code + 64) & 255]) if code in {0, 10, 13, 0x3D} else bytes([code])
    lines = b"\r\n".join(data[at : at + 128] for at in range(0, len(data), 128))
    return b"=ybegin line=128 size=%d name=scan.pdf\r\n" % len(octets) + lines + b"\r\n=yend size=%d\r\n" % len(octets)


@pytest.mark.parametrize(
    ("embedded", "name"),
    [
        (LINES, ""),
        (base64.b64encode(SCAN), ""),
        (
            b"Content-Type: application/pdf; name=scan.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + LINES,
            "scan.pdf",
        ),
        (uuencoded(SCAN), "scan.pdf"),
        (b"begin-base64 644 scan.pdf\r\n" + LINES + b"====\r\n", "scan.pdf"),
    ],
    ids=["base64", "one line", "with its header", "uuencode", "uuencode base64"],
)
def test_embedded_files_are_extracted(embedded: bytes, name: str) -> None:
    mail = open_mail(HEAD + b"\r\nBefore.\r\n\r\n" + embedded + b"\r\nBehind.\r\n")
    assert mail.text.split() == ["Before.", "Behind."]
    assert sizes(mail) == [("pdf", len(SCAN))]
    assert mail.parts[0].name == name


def test_embedded_yenc_is_extracted() -> None:
    # Its escapes may look like soft line breaks; it comes in 8-bit text.
    octets = os.urandom(1000)
    mail = open_mail(HEAD + b"Content-Transfer-Encoding: 8bit\r\n\r\nBefore.\r\n" + yencoded(octets) + b"Behind.\r\n")
    assert mail.text.split() == ["Before.", "Behind."]
    assert [(part.name, part.size) for part in mail.parts] == [("scan.pdf", 1000)]


@pytest.mark.parametrize(
    "text",
    [
        "begin 644 words that say something\nand no file",
        "a" * 76 + "\n" + "A short one.",
        "https://example.test/" + "a" * 300,
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nHello.",
        "\n".join(["Nothing but words here"] * 50),
    ],
)
def test_ordinary_text_is_kept(text: str) -> None:
    mail = open_mail(HEAD + b"\r\n" + text.encode())
    assert mail.text.split() == text.split()
    assert mail.parts == ()


def test_keys_and_signatures_are_dropped() -> None:
    armour = b"-----BEGIN PGP SIGNATURE-----\r\n\r\n" + LINES[:300] + b"\r\n-----END PGP SIGNATURE-----\r\n"
    assert open_mail(HEAD + b"\r\nHello.\r\n" + armour).text.split() == ["Hello."]


# Signed, compressed, encrypted


def signed(content: bytes, options: list[pkcs7.PKCS7Options]) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content).add_signer(certificate, key, hashes.SHA256())
    return builder.sign(serialization.Encoding.DER, options)


INNER = (
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n"
    + PDF
    + (b"Content-Transfer-Encoding: base64\r\n\r\n" + LINES + b"\r\n--b--\r\n")
)
SMIME = HEAD + b"Content-Type: application/pkcs7-mime; smime-type=%s; name=smime.p7m\r\n%s\r\n"


def test_signed_mail_is_opened() -> None:
    octets = signed(INNER, [pkcs7.PKCS7Options.Binary])
    for head, body in (
        (SMIME % (b"signed-data", b"Content-Transfer-Encoding: base64\r\n"), base64.encodebytes(octets)),
        (SMIME % (b"signed-data", b""), octets),
        (SMIME % (b"enveloped-data", b""), octets),
        (SMIME % (b"signed-data", b""), base64.encodebytes(octets)),
        (HEAD + b"Content-Type: application/octet-stream; name=smime.p7m\r\n\r\n", octets),
    ):
        mail = open_mail(head + body)
        assert mail.text == "hello"
        assert sizes(mail) == [("pdf", len(SCAN))]


def test_signed_mail_in_constructed_strings_is_opened() -> None:
    # As OpenSSL writes it while it streams: lengths that are not said, and a string of strings (X.690 section 8.1.3.6).
    pieces = (INNER[at : at + 1000] for at in range(0, len(INNER), 1000))
    string = b"\x24\x80" + b"".join(b"\x04\x82" + struct.pack(">H", len(each)) + each for each in pieces) + b"\0\0"
    content = b"\x30\x80\x06\x09" + bytes.fromhex("2a864886f70d010701") + b"\xa0\x80" + string + b"\0\0" + b"\0\0"
    data = b"\x30\x80\x02\x01\x01\x31\x00" + content + b"\x31\x00\0\0"
    octets = b"\x30\x80\x06\x09" + bytes.fromhex("2a864886f70d010702") + b"\xa0\x80" + data + b"\0\0\0\0"
    assert open_mail(SMIME % (b"signed-data", b"") + octets).text == "hello"


@pytest.mark.parametrize(
    "octets",
    [
        SMIME % (b"enveloped-data", b"") + bytes.fromhex("300f06092a864886f70d010703a0023000"),
        HEAD + b"\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nabc=\r\n-----END PGP MESSAGE-----\r\n",
        HEAD + b"Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--",
    ],
)
def test_only_encrypted_mail_is_refused_as_encrypted(octets: bytes) -> None:
    with pytest.raises(IntakeRefusedError, match="encrypted"):
        open_mail(octets)


@pytest.mark.parametrize(
    "octets", [b"", b"x", b"\x30", b"\x30\x80" * 50, b"\x30\x84\xff\xff\xff\xff", bytes(range(100))]
)
def test_other_smime_content_is_an_attachment(octets: bytes) -> None:
    [part] = open_mail(SMIME % (b"signed-data", b"") + octets).parts
    assert (part.name, part.declared) == ("smime.p7m", "application/pkcs7-mime")


# winmail.dat


def attribute(name: int, value: bytes, level: int = 2) -> bytes:
    return struct.pack("<BHHI", level, name, 6, len(value)) + value + struct.pack("<H", sum(value) & 0xFFFF)


def text_property(name: int, text: str) -> bytes:
    octets = text.encode("utf-16-le") + b"\0\0"
    return struct.pack("<HHII", 0x1F, name, 1, len(octets)) + octets + b"\0" * (-len(octets) % 4)


def tnef(*attributes: bytes) -> bytes:
    return b"\x78\x9f\x3e\x22\x01\x00" + b"".join(attributes)


def outlook_file(octets: bytes) -> bytes:
    return b"".join(
        [
            attribute(0x9002, bytes(14)),
            attribute(0x8010, b"UEBERS~1.PDF\0"),
            attribute(0x800F, octets),
            attribute(0x9005, struct.pack("<I", 1) + text_property(0x3707, "Übersicht.pdf")),
        ]
    )


FILE = outlook_file(SCAN)
WINMAIL = b"Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n"


def test_winmail_dat_is_unwrapped() -> None:
    body = attribute(0x9003, struct.pack("<I", 1) + text_property(0x1000, "Hello from Outlook"), level=1)
    mail = open_mail(HEAD + WINMAIL + base64.encodebytes(tnef(body, FILE, FILE)))
    assert mail.text == "Hello from Outlook"
    assert sizes(mail) == [("pdf", len(SCAN))] * 2
    assert mail.parts[0].name == "Übersicht.pdf"


@pytest.mark.parametrize("octets", [b"", b"x" * 100, tnef()[:5], tnef(attribute(0x9003, b"\xff" * 50))], ids=len)
def test_a_damaged_winmail_dat_is_an_attachment(octets: bytes) -> None:
    [part] = open_mail(HEAD + WINMAIL + base64.encodebytes(octets)).parts
    assert part.name == "winmail.dat"


def test_a_truncated_winmail_dat_is_read_as_far_as_possible() -> None:
    mail = open_mail(HEAD + WINMAIL + base64.encodebytes(tnef(FILE, FILE)[:-20_000]))
    assert sizes(mail)[0] == ("pdf", len(SCAN))

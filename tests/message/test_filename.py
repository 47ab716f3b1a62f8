from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailslot.errors import InputError
from mailslot.message import Attachment, Message
from message.readers import fields, file_names, octets, parsed

CORPUS = {
    "scan.pdf": "scan.pdf",
    "Scan of 3 March; page 1, draft.pdf": "Scan of 3 March; page 1, draft.pdf",
    "100%.pdf": "100%.pdf",
    "%41.pdf": "%41.pdf",
    "it's.pdf": "it's.pdf",
    'say "hi".pdf': "say _hi_.pdf",
    '"scan.pdf"': "_scan.pdf_",
    "<scan.pdf>": "_scan.pdf_",
    "=?utf-8?q?x?=.pdf": "=_utf-8_q_x_=.pdf",
    "9:30? a|b *.pdf": "9_30_ a_b _.pdf",
    "scan.pdf:hidden.exe": "scan.pdf_hidden.exe",
    "Rechnung für Müller.pdf": "Rechnung für Müller.pdf",
    "日本語のスキャン.tif": "日本語のスキャン.tif",
    "😀👨‍👩‍👧.pdf": "😀👨‍👩‍👧.pdf",
    r"..\..\x": "x",
    "../../etc/passwd": "passwd",
    r"C:\Users\me\scan.pdf": "scan.pdf",
    "C:scan.pdf": "C_scan.pdf",
    r"\\server\share\scan.pdf": "scan.pdf",
    "a/b\\c.pdf": "c.pdf",
    "a\\": "attachment",
    "CON.pdf": "_CON.pdf",
    "con": "_con",
    "Lpt1.tar.gz": "_Lpt1.tar.gz",
    "COM¹.pdf": "_COM¹.pdf",
    "nul .pdf": "_nul .pdf",
    "console.pdf": "console.pdf",
    "invoice\u202efdp.exe": "invoicefdp.exe",
    "\u2066a\u2069\u200f.pdf": "a.pdf",
    "bell\x07tab\tesc\x1b.pdf": "belltabesc.pdf",
    "next\x85line.pdf": "nextline.pdf",
    "broken\udcff.pdf": "broken.pdf",
    "scan.pdf. . ": "scan.pdf",
    "  scan.pdf": "scan.pdf",
    "\u3000scan.pdf .\xa0.": "scan.pdf",
    "\xa0": "attachment",
    ".profile": ".profile",
    "": "attachment",
    ".": "attachment",
    "..": "attachment",
    "\x01\x02": "attachment",
    "x" * 300 + ".pdf": "x" * 116 + ".pdf",
    "ü" * 300 + ".pdf": "ü" * 58 + ".pdf",
    "日" * 300 + ".pdf": "日" * 38 + ".pdf",
    "😀" * 300: "😀" * 30,
    "a." + "x" * 300: "a." + "x" * 118,
    "x" * 65 + ".pdf": "x" * 65 + ".pdf",
}


def mail(*names: str) -> Message:
    attachments = [Attachment.from_bytes(b"x", name) for name in names]
    return Message(sender="a@example.com", to=["b@example.com"], attachments=attachments)


async def assert_reads(message: Message, names: list[str]) -> None:
    data = await octets(message)
    assert data.isascii()
    assert max(map(len, data.split(b"\r\n"))) <= 76
    parts = [part for part in data.split(b"\r\n--=_") if b"\r\nContent-Disposition:" in part]
    dispositions = [dict(fields(part))["Content-Disposition"] for part in parts]
    assert [file_names(disposition) for disposition in dispositions] == [{n} for n in names]
    theirs = (await parsed(message)).iter_attachments()
    assert [part.get_filename() for part in theirs] == names


@pytest.mark.parametrize("name", CORPUS, ids=lambda name: ascii(name)[:40])
async def test_names_are_safe_and_every_reader_sees_the_same(name):
    expected = CORPUS[name]
    attachment = Attachment.from_bytes(b"x", name)
    assert attachment.name == expected
    assert Attachment.from_bytes(b"x", expected).name == expected
    await assert_reads(mail(name), [expected])


@given(st.text(max_size=200))
async def test_any_name_is_safe_or_refused(name):
    try:
        attachment = Attachment.from_bytes(b"x", name)
    except InputError:
        assert any(c in name for c in "\r\n\0")
        return
    assert not set(attachment.name) & set('/\\<>:"|?*\r\n\0\t\u202e')
    assert len(attachment.name.encode()) <= 120
    assert attachment.name == attachment.name.strip().rstrip(".").rstrip()
    await assert_reads(mail(name), [attachment.name])


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n", "\0"], ids=ascii)
def test_a_line_end_is_refused(end, tmp_path):
    with pytest.raises(InputError, match="file name") as caught:
        Attachment.from_bytes(b"x", f"a{end}b.pdf")
    assert caught.value.stage == "data"
    path = tmp_path / "scan.pdf"
    path.write_bytes(b"x")
    with pytest.raises(InputError, match="file name"):
        Attachment.from_path(path, name=f"a{end}b.pdf")


async def test_names_are_unique_in_a_mail():
    long = "x" * 130 + ".pdf"
    names = ["scan.pdf", "SCAN.pdf", "scan.pdf", "scan (2).pdf", "scan", "scan", long, long]
    await assert_reads(
        mail(*names),
        [
            "scan.pdf",
            "SCAN (2).pdf",
            "scan (3).pdf",
            "scan (2) (2).pdf",
            "scan",
            "scan (2)",
            "x" * 116 + ".pdf",
            "x" * 112 + " (2).pdf",
        ],
    )

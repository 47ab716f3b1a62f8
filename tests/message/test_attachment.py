from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from mailslot.errors import InputError
from mailslot.message import Attachment, Message
from message.readers import octets, parsed

BLOCK = 57 * 512


def mail(*attachments: Attachment) -> Message:
    return Message(sender="a@example.com", to=["b@example.com"], text="Hi", attachments=attachments)


def refused(*args, **kwargs) -> str:
    with pytest.raises(InputError) as caught:
        Attachment.from_path(*args, **kwargs)
    assert caught.value.stage == "data"
    assert not caught.value.retryable
    return str(caught.value)


@contextmanager
def nobody():
    """Be somebody whom file modes bind, if we are root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_unsendable_files_are_refused_with_a_sentence(tmp_path):
    empty = tmp_path / "empty.pdf"
    empty.touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert refused(tmp_path / "no.pdf") == f"The file '{tmp_path}/no.pdf' does not exist."
    assert refused(empty / "no.pdf") == f"The file '{empty}/no.pdf' does not exist."
    assert refused(tmp_path / "dangling") == f"The file '{tmp_path}/dangling' does not exist."
    assert refused(tmp_path) == f"The file '{tmp_path}' is not a file."
    assert refused("/dev/zero") == "The file '/dev/zero' is not a file."
    assert refused(empty) == "The attachment 'empty.pdf' is empty."
    assert refused(tmp_path / "loop") == f"The file '{tmp_path}/loop' cannot be read."
    assert refused(tmp_path / "a\0b") == f"The file '{tmp_path}/a\\x00b' cannot be read."


@pytest.mark.skipif(sys.platform == "win32", reason="no file modes there")
def test_an_unreadable_file_is_refused(tmp_path):
    path = tmp_path / "secret.pdf"
    path.write_bytes(b"x")
    path.chmod(0)
    with nobody():
        assert refused(path) == f"The file '{path}' may not be read by this program."


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
def test_a_pipe_is_refused_without_blocking(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert refused(tmp_path / "pipe") == f"The file '{tmp_path}/pipe' is not a file."


def test_an_empty_attachment_is_refused():
    with pytest.raises(InputError, match=r"'scan\.pdf' is empty"):
        Attachment.from_bytes(b"", "scan.pdf")


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("scan.pdf", "application/pdf"),
        ("SCAN.PDF", "application/pdf"),
        ("scan.tif", "image/tiff"),
        ("scan.tiff", "image/tiff"),
        ("scan.jpg", "image/jpeg"),
        ("scan.png", "image/png"),
        ("list.csv", "text/csv"),
        ("scan.tar.gz", "application/octet-stream"),
        ("mail.eml", "application/octet-stream"),
        ("scan", "application/octet-stream"),
        ("scan.unheard-of", "application/octet-stream"),
    ],
)
async def test_the_type_is_guessed_from_the_name(name, content_type, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"x")
    assert Attachment.from_path(path).content_type == content_type
    assert Attachment.from_bytes(b"x", name).content_type == content_type
    (part,) = (await parsed(mail(Attachment.from_path(path)))).iter_attachments()
    assert part.get_content_type() == content_type


@pytest.mark.parametrize(
    "content_type",
    [
        "pdf",
        "application/",
        "application/pdf\r\nBcc: x@evil.example",
        "application/pdf\n",
        "application/pdf; name=\0",
        "application/pdf; charset",
        "application/ü",
        "multipart/mixed",
        "Message/RFC822",
        "a/" + "b" * 300,
    ],
    ids=ascii,
)
def test_invalid_content_types_are_refused(content_type):
    with pytest.raises(InputError):
        Attachment.from_bytes(b"x", "scan.pdf", content_type)


async def test_a_type_with_parameters_is_kept():
    content_type = 'image/tiff; application=faxbw; note="a  b; c"; ' + "; ".join(f"p{n}=value" for n in range(10))
    message = mail(Attachment.from_bytes(b"x", "fax.tif", content_type))
    assert max(map(len, (await octets(message)).split(b"\r\n"))) <= 76
    (part,) = (await parsed(message)).iter_attachments()
    assert part.get_content_type() == "image/tiff"
    assert part.get_param("application") == "faxbw"
    assert part.get_param("note") == "a  b; c"
    assert part.get_param("p9") == "value"


async def test_name_and_type_can_be_given(tmp_path):
    path = tmp_path / "job-0001.tmp"
    path.write_bytes(b"content")
    attachment = Attachment.from_path(str(path), name="Größe.pdf", content_type="application/pdf")
    (part,) = (await parsed(mail(attachment))).iter_attachments()
    assert part.get_filename() == "Größe.pdf"
    assert part.get_content_type() == "application/pdf"
    assert part.get_content() == b"content"


async def test_a_relative_path_survives_a_change_of_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "scan.pdf").write_bytes(b"content")
    monkeypatch.chdir(tmp_path)
    attachment = Attachment.from_path("scan.pdf")
    monkeypatch.chdir("/")
    assert b"Y29udGVudA==" in await octets(mail(attachment))


async def first_chunk_refused(message: Message) -> str:
    chunks = message.chunks()
    with pytest.raises(InputError) as caught:
        await anext(chunks)
    assert caught.value.stage == "data"
    return str(caught.value)


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("size", [10, 100 * BLOCK])
async def test_a_file_changed_before_sending_is_refused(tmp_path, position, size):
    path = tmp_path / "scan.pdf"
    path.write_bytes(bytes(size))
    attachments = [Attachment.from_bytes(bytes(50 * BLOCK), "other.pdf")]
    attachments.insert(position, Attachment.from_path(path))
    message = mail(*attachments)
    await octets(message)
    path.write_bytes(bytes(size - 1))
    assert await first_chunk_refused(message) == f"The file '{path}' has changed since it was attached."
    path.write_bytes(bytes(size + 1))
    assert await first_chunk_refused(message) == f"The file '{path}' has changed since it was attached."
    path.unlink()
    assert await first_chunk_refused(message) == f"The file '{path}' does not exist."
    path.write_bytes(bytes(size))
    await octets(message)


@pytest.mark.parametrize("change", [-1, +1, -60 * BLOCK])
async def test_a_file_changed_during_reading_is_an_error(tmp_path, change):
    path = tmp_path / "scan.pdf"
    size = 100 * BLOCK
    path.write_bytes(bytes(size))
    message = mail(Attachment.from_path(path))
    chunks = message.chunks()
    received = len(await anext(chunks))
    os.truncate(path, size + change)
    with pytest.raises(InputError, match="has changed"):  # noqa: PT012 - counts what came before
        async for chunk in chunks:
            received += len(chunk)
    assert received < message.size


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that fails to be read")
def test_a_read_error_is_reported():
    # It opens, and gives an input/output error: nothing is mapped at the address 0.
    path = Path("/proc/self/mem")
    attachment = Attachment("memory", "application/octet-stream", 1, path)
    with path.open("rb") as opened, pytest.raises(InputError, match="cannot be read") as caught:
        list(attachment.encode(opened))
    assert "Input/output error" in caught.value.detail

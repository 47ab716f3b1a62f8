"""Errors in ``mailslot.toml``: all at once, each with its line and the allowed values."""

from __future__ import annotations

import os
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from mailslot import InputError, Security
from mailslot.slots.keys import Key
from mailslot.slots.section import Section
from mailslot.slots.settings_document import SettingsFileError
from mailslot.slots.settings_file import SettingsFile
from mailslot.slots.settings_reader import MAX_OCTETS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def faults(home: Path, text: str | bytes) -> list[str]:
    file = SettingsFile(home)
    file.path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsFileError) as raised:
        file.load()
    assert raised.value.cause == "not_configured"
    assert str(raised.value).isprintable() or "\n" in str(raised.value)
    return [line.removeprefix(f"{home}/") for line in raised.value.detail.splitlines()]


def test_all_errors_at_once(tmp_path: Path) -> None:
    text = """\
prot = 1
[records.smtp]
port = 99999
timeout = 'soon'
serber = "x"
password = "geheim-geheim"
[records.alert-smtp]
authentication = "oauth2"
security = "none"
[records.fax]
[devise]
[device]
language = "tlh"
"""
    assert faults(tmp_path, text) == [
        "mailslot.toml:1: 'prot' stands outside of a table; settings stand under [records.NAME].",
        "mailslot.toml:3: [records.smtp] port is 99999; it must be a number from 1 to 65535.",
        "mailslot.toml:4: [records.smtp] timeout is 'soon'; it must be seconds from 1 to 600.",
        "mailslot.toml:5: [records.smtp] there is no setting 'serber'. Did you mean server?",
        (
            "mailslot.toml:6: [records.smtp] password is a secret, and secrets never stand here: mailslot set SLOT "
            "password=-."
        ),
        (
            "mailslot.toml:8: [records.alert-smtp] OAuth 2.0 and passwords need encryption: set security to starttls "
            "or tls."
        ),
        "mailslot.toml:10: there is no record [records.fax]. Did you mean fax-pop?",
        "mailslot.toml:11: there is no table [devise]. Did you mean device?",
        "mailslot.toml:13: [device] language is 'tlh'; it must be one of en, de, fr, es, ja.",
    ]


def test_one_error_is_one_sentence(tmp_path: Path) -> None:
    file = SettingsFile(tmp_path)
    file.path.write_text("[records.smtp]\nport = 0\n")
    with pytest.raises(SettingsFileError) as raised:
        file.load()
    messages = "[records.smtp] port is 0; it must be a number from 1 to 65535."
    assert str(raised.value) == f"{file.path}:2: {messages}"
    [fault] = raised.value.faults
    assert (fault.line, fault.table, fault.key) == (2, "records.smtp", "port")


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("records.smtp.port = 0", 1, "port is 0"),
        ("[records]\n\nsmtp.port = 0", 3, "port is 0"),
        ("[records]\nsmtp = {timeout = 5, port = 0}", 2, "port is 0"),
        ("records = {'smtp' = {\"port\" = 0}}", 1, "port is 0"),
        ("[records.'smtp']\n\"po\\u0072t\" = 0", 2, "port is 0"),
        ("[records.smtp]\nscopes = [\n  1,\n]", 2, "scopes is [1]"),
        ("[records.smtp]\nsender_name = '''\nport = 1'''\nport = 0", 4, "port is 0"),
        ("[records.smtp]\nport = true", 2, "port is true"),
        ("[records.smtp]\nport = 1979-05-27", 2, "port is datetime"),
        ("[records.smtp.port]\nx = 1", 1, "port is {'x': 1}"),
        ("[[records.smtp]]\nport = 1", 1, "records.smtp must be a table"),
        ("[records.smtp]\nprovider = 'mircosoft'", 2, "such as microsoft365"),
        ("[records.smtp]\npop_slot = 'network.smtp'", 2, "fax.pop, print.pop, status.pop"),
        ("[records.smtp]\nissuer = 'https://user:hunter2@idp.example/#x'", 2, "https://…@idp.example"),
        ("[records.smtp]\nissuer = 'http://user:hunter1@hunter2@idp.example'", 2, "http://…@idp.example"),
        ("device = 1", 1, "stands outside of a table"),
        ("[records.smtp]\nport = 1\nport = 2", 3, "cannot overwrite a value"),
        ("[records.smtp]\nport = 1\n[records.smtp]\n", 3, "twice"),
        ("[records.smtp]\nport = 1\n\n[records.smtp\n", 4, "this is not TOML"),
        ("[records.smtp]\nserver = 'x\n", 2, "this is not TOML"),
        ("[records.smtp]\nsender_name = 'a\0b'", 2, "'\\x00'"),
        ("[records.smtp]\nport = 0x", 2, "this is not TOML"),
    ],
)
def test_lines(tmp_path: Path, text: str, line: int, expected: str) -> None:
    messages = faults(tmp_path, text)
    assert messages[0].startswith(f"mailslot.toml:{line}: ")
    assert expected in messages[0]
    assert "hunter2" not in messages[0]


def test_no_fault_quotes_a_private_value(tmp_path: Path) -> None:
    """Faults get into logs, onto pages and into reports for support."""
    [fault] = faults(tmp_path, "[device]\nwebhook = 'http://hooks.example/T1/hunter2'\n")
    assert fault == "mailslot.toml:2: [device] webhook must be an https address, or http on a loopback address."


@pytest.mark.parametrize("value", ["5", "true", "[1]", "{a = 1}", "''", "1979-05-27"])
def test_a_plugin_whose_parser_expects_text_alone(tmp_path: Path, value: str) -> None:
    """Its author has tried it with `mailslot set`, which hands over text."""
    parsers: list[Callable[[Any], Any]] = [
        str.strip,
        lambda text: text.split()[0],
        lambda text: 1 / int(text[1:]),
        lambda text: re.compile(f"({text}"),
    ]
    section = Section("acme", {f"key{number}": Key("a word", parse) for number, parse in enumerate(parsers)})
    file = SettingsFile(tmp_path, [section])
    file.path.write_text(f"[records.smtp]\nport = 0\n[acme]\nkey1 = {value}\nkey2 = {value}\nkey3 = {value}\n")
    with pytest.raises(SettingsFileError) as raised:
        file.load()
    assert [fault.line for fault in raised.value.faults] == [2, 4, 5, 6]
    assert all(fault.what.endswith("it must be a word.") for fault in raised.value.faults[1:])


@pytest.mark.parametrize("opened", [2, 398])
def test_a_long_file_with_something_unclosed_is_parsed_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: int
) -> None:
    """Each of its beginnings was parsed, which took minutes for an import that somebody else has written."""
    text = "x" * 400
    lines = [f"key{number} = '{text}'" if number < opened else f"'{text}'," for number in range(400)]
    lines[opened - 1] = "list = ["
    parsed = counted_parsing(monkeypatch)
    found = faults(tmp_path, "\n".join(lines))
    assert found[0].startswith(
        "mailslot.toml:398: this is not TOML" if opened == 398 else "mailslot.toml: this is not TOML"
    )
    assert sum(parsed) < 10 * MAX_OCTETS


def test_a_long_file_with_many_broken_lines_is_parsed_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = counted_parsing(monkeypatch)
    lines = [*(f"# {'x' * 4_000}" for _ in range(200)), *(f"key{number} = x y" for number in range(100))]
    found = faults(tmp_path, "\n".join(lines))
    assert all("this is not TOML" in line for line in found if ".toml:" in line)
    assert len(found) > 2
    assert sum(parsed) < 10 * MAX_OCTETS


def counted_parsing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of the characters that each call of the parser gets from now on."""
    loads, parsed = tomllib.loads, list[int]()

    def counting(text: str) -> dict[str, Any]:
        parsed.append(len(text))
        return loads(text)

    monkeypatch.setattr(tomllib, "loads", counting)
    return parsed


def test_a_syntax_error_hides_no_other_error(tmp_path: Path) -> None:
    messages = faults(tmp_path, "[records.smtp]\nserver = x y\nport = 0\nport = 1\n[records.fax-pop]\nport = 70000\n")
    assert [line.partition(" ")[0] for line in messages] == [
        f"mailslot.toml:{number}:" for number in (2, 3, 4, 6)
    ]  # fmt: skip


def test_no_errors_are_invented_after_an_unclosed_string(tmp_path: Path) -> None:
    assert len(faults(tmp_path, "[records.smtp]\nscopes = [\nport = 587\n[records.fax-pop]\nport = 995\n")) == 1
    assert len(faults(tmp_path, '[records.smtp]\nsender_name = """\nport = 587\n')) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"[records.smtp]\nserver = 'm\xfcller'\n", ":2: this is not UTF-8"),
        (b"x" * (MAX_OCTETS + 1), "larger than"),
        (b"#" + b"x" * 10_000_000, "larger than"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"[records.smtp]\nport = " + b"1" * 5000, "not TOML"),
        (b"a\xff", ":1: this is not UTF-8"),
    ],
)
def test_unparsable_files(tmp_path: Path, text: bytes, expected: str) -> None:
    file = SettingsFile(tmp_path)
    file.path.write_bytes(text)
    with pytest.raises(SettingsFileError, match=expected):
        file.load()


def test_the_number_of_errors_is_bounded(tmp_path: Path) -> None:
    assert len(faults(tmp_path, "".join(f"k{number} = 1\n" for number in range(5000)))) == 100
    assert len(faults(tmp_path, "".join(f"k{number} = \n" for number in range(500)))) == 100


def test_bom_and_crlf_are_preserved(tmp_path: Path) -> None:
    file = SettingsFile(tmp_path)
    file.path.write_bytes(b"\xef\xbb\xbf# by hand\r\n[records.smtp]\r\nport = 25 # c\r\n")
    assert file.load()["smtp"].port == 25
    file.change("smtp", {"port": 587, "security": "starttls"})
    assert file.path.read_bytes() == (b'# by hand\r\n[records.smtp]\r\nport = 587 # c\r\nsecurity = "starttls"\r\n')
    assert file.load()["smtp"].security is Security.STARTTLS


def test_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "mailslot.toml").mkdir()
    with pytest.raises(SettingsFileError, match="Is a directory"):
        SettingsFile(tmp_path).load()
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "mailslot.toml")
    with pytest.raises(SettingsFileError, match="not a file"):
        SettingsFile(tmp_path / "pipe").load()
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "mailslot.toml").symlink_to("mailslot.toml")
    with pytest.raises(InputError, match="cannot be read"):
        SettingsFile(tmp_path / "loop").load()

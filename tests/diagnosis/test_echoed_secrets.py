"""A mail server that echoes secrets: no encoding of a secret is shown, stored or put into a report."""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING

import pytest

from diagnosis.scenarios import SMTP
from mailslot.diagnosis.report import make_report
from mailslot_plugins.sandbox import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from diagnosis.device import Device
    from mailslot_plugins.sandbox import Sandbox

TOKEN = "ya29.a0AfH6SMBxQ7vLw2Zk9PqRtYuIoPaSdFgHjKlZxCvBnM1234567890"


def _cut(size: int, text: str = TOKEN) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


ECHOES: dict[str, Callable[[], list[str]]] = {
    "hexadecimal": lambda: [TOKEN.encode().hex()],
    "percent": lambda: ["".join(f"%{octet:02x}" for octet in TOKEN.encode())],
    "dashes": lambda: ["-".join(TOKEN)],
    "elevens": lambda: [".".join(_cut(11))],
    "lines": lambda: [f"<{piece}>" for piece in _cut(6)],
    "letters": lambda: _cut(1),
}


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("source", ["file", "password", "vault"])
async def test_no_encoding_of_an_echoed_secret_is_shown(
    device: Device, sandbox: Sandbox, echo: str, source: str
) -> None:
    lines = ECHOES[echo]()
    outcome = b"".join(f"535-5.7.8 {line}\r\n".encode() for line in lines) + b"535 5.7.8 end\r\n"
    sandbox.faults.append(Fault("sign_in", act=False, replace=outcome))
    await device.set_up_slot(SMTP, sandbox, keep=False)
    if source == "file":
        (device.home / "token").write_text(TOKEN)
        device.set(SMTP, token_source=f"file {device.home / 'token'}")
    elif source == "password":
        device.set(SMTP, authentication="password", password=TOKEN)
    else:
        await device.store_token(SMTP, TOKEN)
    result = await device.test(SMTP)
    assert result.stage == "sign_in"
    kept = (device.home / "history" / "smtp.jsonl").read_text()
    with zipfile.ZipFile(io.BytesIO(await make_report(device.records))) as bundle:
        names = [name for name in bundle.namelist() if "tests.json" in name or "transcripts" in name]
        assert len(names) == 2
        report = "".join(bundle.read(name).decode() for name in names)
    for text in (repr(result), "\n".join(result.transcript), str(result.as_json()), kept, report):
        heard = re.sub(r"[SC]: |\\n|535[- ]5\.7\.8 ", "", text)
        for form in (TOKEN, TOKEN.encode().hex()):
            assert _letters(form)[8:28] not in _letters(heard)
    # What bears nothing of it stays legible.
    assert any(line.startswith("S: 220") for line in result.transcript)


async def test_secrets_are_masked_in_stage_notes(device: Device, sandbox: Sandbox) -> None:
    await device.set_up_slot(SMTP, sandbox)
    grant = await device.records.tokens.store("smtp").load()
    assert grant is not None
    assert grant.access_token is not None
    token = grant.access_token.reveal()
    sandbox.faults.append(Fault("message", replace=f"250 2.0.0 queued as {token.encode().hex()}\r\n".encode()))
    heard: list[str] = []
    result = await device.test(SMTP, send=True, on_stage=lambda stage: heard.append(stage.note))
    assert result.ok
    assert token.encode().hex()[:20] not in repr(result) + repr(heard)

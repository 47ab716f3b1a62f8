"""The report for support: one zip file with the state of a device, without its secrets."""

from __future__ import annotations

import io
import json
import time
import zipfile
from typing import TYPE_CHECKING, Any, Final

from anyio.to_thread import run_sync

from mailslot.diagnosis.evidence import Evidence
from mailslot.diagnosis.scrub import Scrubber
from mailslot.wire.secret import MASK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mailslot.slots.records import Records
    from mailslot.wire.secret import Secret

_EARLIEST: Final = 315_619_200.0
"""1980-01-02 in seconds since the epoch: zip files cannot hold a time before 1980."""

_FILES: Final = {
    "README.txt": "this text",
    "versions.json": "mailslot, Python, OpenSSL, the system and the packages; the time and the time zone",
    "settings.json": "what is set, what a provider's preset fills in (under `from`), and which secrets there are",
    "slots.json": "every slot with its token line and how its token is doing",
    "tokens.json": "what each token says of itself, without the token; the clock against the provider's",
    "tests.json": "the last connection tests of each record, the newest first",
    "queue.json": "how many jobs are in each state",
    "transcripts/": "what was said in the last connection test of each record",
    "notes.txt": "what could not be read, and why",
}
_README: Final = f"""\
A report of a mailslot device for support.

Passwords, client secrets, tokens and the key to them were left out. Then every text was searched for them once more,
in clear, in base64, in hexadecimal and percent-encoded; where a piece of one was found, the text is {MASK}.
Accounts, addresses of mailboxes, and names of servers and of the device are in here.
"""


async def make_report(records: Records, now: float | None = None) -> bytes:
    """Return a report as a zip file.

    Args:
        records: the device's settings and secrets.
        now: the time, in seconds since the epoch; None for the current time.
    """
    timestamp = time.time() if now is None else now
    evidence = Evidence(records, timestamp)
    documents = await evidence.documents()
    if evidence.notes:
        documents["notes.txt"] = evidence.notes
    return await run_sync(_bundle, documents, evidence.secrets, timestamp)


def _bundle(documents: Mapping[str, Any], secrets: Iterable[Secret], timestamp: float) -> bytes:
    scrubber = Scrubber(secrets)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, octets in {"README.txt": _readme(documents).encode(), **_encode_files(documents, scrubber)}.items():
            entry = zipfile.ZipInfo(f"mailslot-report/{name}", time.localtime(max(timestamp, _EARLIEST))[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o600 << 16
            bundle.writestr(entry, octets)
    return buffer.getvalue()


def _encode_files(documents: Mapping[str, Any], scrubber: Scrubber) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name, document in documents.items():
        clean = scrubber.scrub(document)
        text = "\n".join(clean) if name.endswith(".txt") else json.dumps(clean, indent=2, ensure_ascii=False)
        files[name] = f"{text}\n".encode("utf-8", "backslashreplace")
    return files


def _readme(documents: Mapping[str, Any]) -> str:
    included = {name.partition("/")[0] for name in documents} | {"README.txt"}
    lines = [f"  {name:15} {about}" for name, about in _FILES.items() if name.rstrip("/") in included]
    return "\n".join([_README, *lines, ""])

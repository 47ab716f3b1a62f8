"""Documents that a program sends: streamed into the spool, each request once, and nothing of one that is cut."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from dataclasses import replace
from email import message_from_bytes, policy
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from anyio.to_thread import run_sync
from hypothesis import given
from hypothesis import strategies as st

from mailslot.spool.spool import Spool
from mailslot_plugins.addressbook.book import save_entries
from mailslot_plugins.addressbook.entry import make_entry
from mailslot_plugins.panel.security.keys import ApiKeys
from mailslot_plugins.panel.send import reception
from mailslot_plugins.panel.send.form_data import (
    FormDataError,
    FormDataReader,
    PartBegin,
    PartData,
    PartEnd,
)
from mailslot_plugins.rules.section import SECTION as RULES
from mailslot_plugins.scan.section import SECTION
from panel.browser_client import BrowserClient, words
from panel.running_panel import run_panel, sandbox_home

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from panel.running_panel import RunningPanel

PAGE = Path(__file__).parents[2] / "fixtures" / "scan" / "page.pdf"
TYPE = "multipart/form-data; boundary=between"
BODY = (
    b'--between\r\nContent-Disposition: form-data; name="to"\r\n\r\nbob@example.com\r\n'
    b'--between\r\nContent-Disposition: form-data; name="file"; filename="\xc3\xa4 %22b%22.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\n--between\nno end\r\n--betwee\r\n--between--\r\nthe end"
)


@pytest.fixture
async def device(tmp_path: Path) -> AsyncGenerator[RunningPanel]:
    async with sandbox_home(tmp_path / "home"), run_panel(tmp_path / "home") as panel:
        yield panel


@pytest.fixture
async def script(device: RunningPanel) -> AsyncGenerator[httpx2.AsyncClient]:
    async with client(device, "fleet") as found:
        yield found


def client(device: RunningPanel, name: str) -> httpx2.AsyncClient:
    key = ApiKeys(device.device.home, lambda: 0.0).make(name).reveal()
    headers = {"authorization": f"Bearer {key}"}
    return httpx2.AsyncClient(base_url=f"{device.address}/api", headers=headers, timeout=120, trust_env=False)


async def send(script: httpx2.AsyncClient, key: str | None = None, **fields: Any) -> httpx2.Response:
    content = fields.pop("content", b"%PDF-1.4 a page")
    data = {"pipeline": "scan", "to": "bob@example.com", **fields}
    headers = {} if key is None else {"idempotency-key": key}
    return await script.post("/jobs", data=data, files={"file": ("a.pdf", content)}, headers=headers)


async def jobs(device: RunningPanel) -> int:
    return len(await device.device.spool.jobs())


def work(device: RunningPanel) -> list[Path]:
    """Return what is being received now."""
    folder = device.device.home / "work"
    return list(folder.iterdir()) if folder.exists() else []


def read(*chunks: bytes) -> list[tuple[str, str | None, bytes]]:
    reader = FormDataReader(TYPE)
    found: list[tuple[str, str | None, bytes]] = []
    for chunk in chunks:
        for event in reader.feed(chunk):
            match event:
                case PartBegin():
                    found.append((event.name, event.filename, b""))
                case PartData():
                    name, filename, octets = found.pop()
                    found.append((name, filename, octets + event.octets))
                case PartEnd():
                    pass
    assert reader.complete
    return found


@given(st.lists(st.integers(0, len(BODY)), max_size=8))
def test_a_form_is_read_in_any_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(BODY)]
    parts = [("to", None, b"bob@example.com"), ("file", 'ä "b".txt', b"--between\nno end\r\n--betwee")]
    assert read(*(BODY[start:end] for start, end in pairwise(edges))) == parts
    assert read(*(BODY[at : at + 1] for at in range(len(BODY)))) == parts


@pytest.mark.parametrize(
    "body",
    [
        b"nothing of the kind, and long enough",
        b"--between\r\nContent-Type: text/plain\r\n\r\nx\r\n--between--",
        b'--between\r\nContent-Disposition: attachment; name="a"\r\n\r\nx\r\n--between--',
        b"--between\r\nX: " + b"x" * 100_000,
    ],
)
def test_a_form_that_is_none(body: bytes) -> None:
    with pytest.raises(FormDataError):
        FormDataReader(TYPE).feed(body)


@pytest.mark.parametrize("kind", ["multipart/form-data", f"multipart/form-data; boundary={'x' * 1000}"])
def test_a_form_without_a_boundary(kind: str) -> None:
    with pytest.raises(FormDataError):
        FormDataReader(kind)


async def test_a_scan(device: RunningPanel, script: httpx2.AsyncClient) -> None:
    files = [("file", ("ä.pdf", PAGE.read_bytes())), ("file", ("ä.pdf", b"\xff\xd8\xff x"))]
    data = {"pipeline": "scan", "to": ["bob@example.com", "Eve <eve@example.com>"], "subject": "{device}", "text": "T"}
    answer = await script.post("/jobs", data=data, files=files)
    job = answer.json()
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/api/jobs/{job['id']}"
    assert (job["pipeline"], job["state"]) == ("scan", "queued")
    assert job["recipients"] == ["bob@example.com", "eve@example.com"]
    assert (await script.get(f"/jobs/{job['id']}")).json() == job
    spool = device.device.spool
    octets = b"".join([piece async for piece in spool.content(await spool.job(job["id"])).chunks()])
    mail = message_from_bytes(octets, policy=policy.default)
    attached = [(each.get_filename(), each.get_payload(decode=True)) for each in mail.iter_attachments()]
    assert attached == [("ä.pdf", PAGE.read_bytes()), ("ä (2).jpg", b"\xff\xd8\xff x")]
    assert work(device) == []


async def test_a_fax(device: RunningPanel, script: httpx2.AsyncClient) -> None:
    data = {"pipeline": "fax", "to": "FAX=+12025550100@gateway.example", "confirm": "true"}
    answer = await script.post("/jobs", data=data, files={"file": ("page.pdf", PAGE.read_bytes())})
    assert answer.status_code == 201, answer.text
    assert answer.json()["notes"]["pages"] == "1"
    assert answer.json()["notes"]["notify"] == "SUCCESS,FAILURE"
    refused = await script.post("/jobs", data=data, files={"file": ("page.pdf", b"%PDF-1.4 no page")})
    assert (refused.status_code, refused.json()["key"]) == (422, "file")
    assert await jobs(device) == 1


@pytest.mark.parametrize(
    ("fields", "status", "key"),
    [
        ({"pipeline": "gateway"}, 422, "pipeline"),
        ({"pipeline": ""}, 422, "pipeline"),
        ({"to": ""}, 422, "to"),
        ({"to": "bob"}, 422, "to"),
        ({"cc": "bob"}, 422, "to"),
        ({"confirm": "true"}, 422, "confirm"),
        ({"split": "perhaps"}, 422, "split"),
        ({"subject": ["a", "b"]}, 422, "subject"),
        ({"content": b""}, 422, "file"),
        ({"file": "text"}, 422, "file"),
        ({"text": "x" * 70_000}, 413, "text"),
        ({"key": '"'}, 400, "Idempotency-Key"),
        ({"key": "x" * 300}, 400, "Idempotency-Key"),
    ],
)
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_what_is_refused(
    device: RunningPanel, script: httpx2.AsyncClient, fields: dict[str, Any], status: int, key: str
) -> None:
    answer = await send(script, **fields)
    assert (answer.status_code, answer.json()["key"]) == (status, key), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert await jobs(device) == 0
    assert work(device) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize(("number", "status"), [(2, 201), (3, 413)])
async def test_as_many_documents_as_are_allowed_before_the_fields(
    script: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    monkeypatch.setattr(reception, "MAX_FILES", 2)
    file = b'--between\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\na page\r\n'
    fields = [
        f'--between\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in (("pipeline", "scan"), ("to", "bob@example.com"))
    ]
    body = file * number + b"".join(fields) + b"--between--\r\n"
    answer = await script.post("/jobs", content=body, headers={"content-type": TYPE})
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_bodies_that_are_no_form(device: RunningPanel, script: httpx2.AsyncClient) -> None:
    for content, kind, status in (
        (b"{}", "application/json", 415),
        (BODY[:-20], TYPE, 400),
        (b"", TYPE, 400),
        (b"x", "multipart/form-data", 400),
        (BODY.replace(b"bob", b"b\xff"), TYPE, 422),
    ):
        answer = await script.post("/jobs", content=content, headers={"content-type": kind})
        assert answer.status_code == status, answer.text
    async with httpx2.AsyncClient(base_url=f"{device.address}/api", trust_env=False) as stranger:
        assert (await send(stranger)).status_code == 401
    assert await jobs(device) == 0


async def test_the_same_key_is_the_same_job(device: RunningPanel, script: httpx2.AsyncClient) -> None:
    answers: list[httpx2.Response] = []

    async def again() -> None:
        answers.append(await send(script, '"one"'))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(again)
    assert Counter(answer.status_code for answer in answers) == {201: 4}
    assert len({answer.json()["id"] for answer in answers}) == 1
    # Another process has nothing but the disk.
    async with Spool(device.device.home) as spool:
        [job] = await spool.jobs()
    assert job.id == answers[0].json()["id"]
    # Without quotation marks, it is the same text.
    assert (await send(script, "one")).json()["id"] == job.id
    for change in ({"to": "eve@example.com"}, {"content": b"%PDF-1.4 another"}, {"pipeline": "fax"}):
        refused = await send(script, '"one"', **change)
        assert (refused.status_code, refused.json()["key"]) == (422, "Idempotency-Key")
    async with client(device, "another") as other:
        assert (await send(other, '"one"')).json()["id"] != job.id
    assert (await send(script)).json()["id"] != (await send(script)).json()["id"]
    assert await jobs(device) == 4


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_repetition_needs_no_settings_and_outlives_a_restart(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with sandbox_home(home):
        async with run_panel(home) as before:
            key = (await run_sync(ApiKeys(home, lambda: 0.0).make, "fleet")).reveal()
            script = httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=120, trust_env=False)
            script.base_url = f"{before.address}/api"
            first = await send(script, '"one"')
            await run_sync(before.device.records.change, "smtp", {"server": None}, {})
            assert (await send(script)).status_code == 409
        async with run_panel(home) as after:
            script.base_url = f"{after.address}/api"
            again = await send(script, '"one"')
        await script.aclose()
    assert (again.status_code, again.json()) == (201, first.json())


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_large_scan_becomes_several_mails_once(device: RunningPanel, script: httpx2.AsyncClient) -> None:
    await run_sync(device.device.records.settings.change_section, SECTION, {"max_size": 30_000})
    await device.device.refresh([SECTION])
    files = [("file", (f"{n}.bin", os.urandom(12_000))) for n in range(3)]
    data = {"pipeline": "scan", "to": "bob@example.com"}
    refused = await script.post("/jobs", data=data, files=files)
    assert (refused.status_code, refused.json()["key"]) == (413, "file")
    data["split"] = "true"
    both = [await script.post("/jobs", data=data, files=files, headers={"idempotency-key": '"x"'}) for _ in range(2)]
    assert [answer.status_code for answer in both] == [201, 201]
    assert both[0].json() == both[1].json()
    assert both[0].headers["link"] == both[1].headers["link"]
    assert 1 < await jobs(device) == both[0].headers["link"].count("related") + 1


async def test_a_large_document_is_never_in_memory(device: RunningPanel, script: httpx2.AsyncClient) -> None:
    largest: list[int] = []
    write = reception._Reception._write
    digest = hashlib.sha256()

    def record(self: reception._Reception, file: Any, octets: bytes) -> None:
        largest.append(len(octets))
        digest.update(octets)
        write(self, file, octets)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reception._Reception, "_write", record)
        answer = await send(script, content=b"\x00" * 10_000_000)
    assert answer.status_code == 201, answer.text
    assert sum(largest) == 10_000_000
    assert digest.hexdigest() == hashlib.sha256(b"\x00" * 10_000_000).hexdigest()
    assert max(largest) <= 256 * 1024


async def test_a_cut_connection_leaves_nothing(device: RunningPanel, script: httpx2.AsyncClient) -> None:
    head = (
        f"POST /api/jobs HTTP/1.1\r\nHost: {device.address.partition('//')[2]}\r\n"
        f"Authorization: {script.headers['authorization']}\r\nContent-Type: {TYPE}\r\nContent-Length: 1000000\r\n\r\n"
    ).encode()
    host, port = device.address.partition("//")[2].split(":")
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send(head + BODY[:-40] + b"x" * 100_000)
        with anyio.fail_after(60):
            while not any(each.stat().st_size for folder in work(device) for each in folder.iterdir()):  # noqa: ASYNC110
                await anyio.sleep(0.01)
    with anyio.fail_after(60):
        while work(device):  # noqa: ASYNC110 - a folder has no event
            await anyio.sleep(0.01)
    assert await jobs(device) == 0


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_full_spool_and_a_full_disk(device: RunningPanel, script: httpx2.AsyncClient) -> None:
    spool = device.device.spool
    acceptance, limits = spool.acceptance, spool.acceptance.limits

    async def refused(content: bytes = b"x" * 5000, **change: int) -> tuple[int, str]:
        spool.acceptance = replace(acceptance, limits=replace(limits, **change))
        answer = await send(script, content=content)
        return answer.status_code, answer.json()["cause"]

    assert await refused(max_total_size=1000) == (503, "spool_full")
    assert await refused(disk_reserve=10**18) == (503, "spool_full")
    assert await refused(max_message_size=10_000, content=b"x" * 20_000) == (413, "message_too_large")
    assert work(device) == []
    assert await jobs(device) == 0


async def test_names_of_the_address_book_and_rules_hold(script: httpx2.AsyncClient, device: RunningPanel) -> None:
    await save_entries(device.device, [make_entry("alice", addresses=["alice@example.com"], groups=["office"])])
    await run_sync(device.device.records.settings.change_section, RULES, {"deny": ["*@example.net"]})
    await device.device.refresh([RULES])
    for pipeline in ("scan", "fax"):
        refused = await send(script, pipeline=pipeline, to="bob@example.net", content=PAGE.read_bytes())
        assert (refused.status_code, "deny=*@example.net" in refused.text) == (422, True)
    sent = await send(script, to="@office", user="@alice", delay="2h")
    job = sent.json()
    assert (job["state"], job["recipients"]) == ("deferred", ["alice@example.com"])
    wrong = await send(script, to="@office", delay="soon")
    assert (wrong.status_code, "not a delay" in wrong.text) == (422, True)


def csrf_and_key(page: str) -> dict[str, str]:
    return {name: re.findall(rf'name="{name}" value="([0-9a-f]+)"', page)[0] for name in ("csrf", "key")}


async def test_the_form_of_the_panel(device: RunningPanel) -> None:
    async with BrowserClient(device.address) as person:
        await person.sign_in()
        hidden = csrf_and_key((await person.get("/send")).text)
        fields = {**hidden, "pipeline": "scan", "to": "bob@example.com", "subject": ""}
        files = {"file": ("a.pdf", PAGE.read_bytes())}
        both = [await person.post("/send", data=fields, files=files) for _ in range(2)]
        [job] = await device.device.spool.jobs()
        assert [(answer.status_code, answer.headers["location"]) for answer in both] == [(303, f"/jobs/{job.id}")] * 2
        assert "is stored on this device" in words(await person.get(f"/jobs/{job.id}"))

        for change, sentence in (
            ({"to": ""}, "Enter at least one address."),
            ({"to": "bob"}, "This address cannot be used"),
        ):
            refused = await person.post("/send", data={**fields, **change}, files=files)
            assert refused.status_code == 422
            assert re.search(rf'id="to-error">.*?{sentence}', refused.text, re.DOTALL), refused.text
            assert "Choose the documents again." in words(refused)
        # That is what a browser sends where no file was chosen.
        refused = await person.post("/send", data=fields, files={"file": ("", b"")})
        assert "Choose at least one document." in words(refused)
        assert await jobs(device) == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_form_of_another_site(device: RunningPanel) -> None:
    async with BrowserClient(device.address) as person:
        await person.sign_in()
        hidden = csrf_and_key((await person.get("/send")).text)
        fields = {"pipeline": "scan", "to": "bob@example.com"}
        files = {"file": ("a.pdf", b"%PDF-1.4")}
        for wrong in ({}, {"csrf": "0" * 64}, {"key": "0", "csrf": hidden["csrf"]}):
            answer = await person.post("/send", data={**wrong, **fields}, files=files)
            assert answer.status_code == 403
        foreign = {"sec-fetch-site": "cross-site"}
        answer = await person.post("/send", data={**hidden, **fields}, files=files, headers=foreign)
        assert answer.status_code == 403
        token = {"x-csrf-token": hidden["csrf"]}
        assert (await person.post("/api/jobs", data=fields, files=files)).status_code == 403
        assert (await person.post("/api/jobs", data=fields, files=files, headers=token)).status_code == 201
    async with BrowserClient(device.address) as stranger:
        answer = await stranger.post("/send", data={**hidden, **fields}, files=files)
        assert answer.headers["location"] == "/sign-in"
    assert await jobs(device) == 1
    assert work(device) == []


@pytest.mark.lab
@pytest.mark.usefixtures("scanner")
async def test_scan_now(device: RunningPanel) -> None:
    settings = device.device.records.settings
    async with BrowserClient(device.address) as person:
        await person.sign_in()
        assert "Scan now" not in words(await person.get("/send"))
        await run_sync(settings.change_section, SECTION, {"scanner": "test", "scanner_source": "flatbed"})
        await device.device.refresh([SECTION])

        async def scan(to: str) -> httpx2.Response:
            hidden = csrf_and_key((await person.get("/send")).text)
            fields = {**hidden, "pipeline": "scan", "to": to, "acquire": "yes"}
            answer = await person.post("/send", data=fields, files={"file": ("", b"")})
            assert answer.headers.get("location") == "/send/scan", words(answer)
            with anyio.fail_after(120):
                while (found := await person.get("/send/scan")).status_code == 200:  # noqa: ASYNC110 - over HTTP
                    await anyio.sleep(0.02)
            return found

        refused = await scan("bob")
        assert re.search(r'id="to-error">.*?This address cannot be used', refused.text, re.DOTALL)
        done = await scan("bob@example.com")
        [job] = await device.device.spool.jobs()
        assert (done.status_code, done.headers["location"]) == (303, f"/jobs/{job.id}")
        await run_sync(settings.change_section, SECTION, {"scanner": "nothing:0"})
        await device.device.refresh([SECTION])
        assert "There is no scanner" in words(await scan("bob@example.com"))
    assert await jobs(device) == 1
    assert work(device) == []

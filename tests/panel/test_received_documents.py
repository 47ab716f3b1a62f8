"""Received documents in the panel and the API: for whom may read them, and with nothing that a browser would run."""

from __future__ import annotations

from email.message import EmailMessage
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from anyio.to_thread import run_sync

from mailslot_plugins.panel.security.keys import ApiKeys
from panel.browser_client import BrowserClient, words

if TYPE_CHECKING:
    from panel.running_panel import RunningPanel

PNG = b"\x89PNG\r\n\x1a\n a picture"
HTML = b"<script>alert(1)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def mail(subject: str) -> bytes:
    message = EmailMessage()
    message["From"], message["Subject"] = "bob@example.com", subject
    message.set_content("The text.")
    message.add_attachment(PNG, maintype="image", subtype="png", filename='b"ä\u2028.png')
    message.add_attachment(HTML, maintype="text", subtype="html", filename="a.html")
    message.add_attachment(SVG, maintype="image", subtype="svg+xml", filename="a.svg")
    message.add_attachment(HTML, maintype="image", subtype="png", filename="c.png")
    return message.as_bytes()


async def fetched(panel: RunningPanel, uid: str, octets: bytes) -> int:
    ledger = panel.device.spool.ledger
    async with ledger.polling_lock("fax-pop"):
        await ledger.record_first_poll("fax-pop")
        await ledger.count_fetch("fax-pop", uid)
        async with ledger.receive("fax-pop", uid) as receiving:
            await receiving.write(octets)
    return max(each.id for each in await ledger.mails())


async def script(panel: RunningPanel, *, documents: bool) -> httpx2.AsyncClient:
    make = partial(ApiKeys(panel.device.home, lambda: 0.0).make, "fleet", documents=documents)
    headers = {"authorization": f"Bearer {(await run_sync(make)).reveal()}"}
    return httpx2.AsyncClient(base_url=f"{panel.address}/api", headers=headers, timeout=120, trust_env=False)


def check_headers(answer: httpx2.Response, disposition: str, kind: str) -> None:
    headers = answer.headers
    assert answer.status_code == 200
    assert headers["content-disposition"].partition(";")[0] == disposition
    assert headers["content-type"] == kind
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("sandbox;")
    assert headers["cache-control"] == "no-store"


async def test_documents_for_a_program(panel: RunningPanel, anyio_backend_name: str) -> None:
    # Both backends share a home.
    octets = mail(anyio_backend_name)
    number = await fetched(panel, anyio_backend_name, octets)
    async with await script(panel, documents=True) as reader, await script(panel, documents=False) as other:
        listed = await reader.get(f"/received/{number}/documents")
        assert listed.status_code == 200, listed.text
        documents: list[dict[str, Any]] = listed.json()
        assert [(each["document"], each["name"]) for each in documents] == [
            (1, "b_ä.png"),
            (2, "a.html"),
            (3, "a.svg"),
            (4, "c.png"),
        ]
        found = [await reader.get(f"/received/{number}/documents/{each['document']}") for each in documents]
        assert [answer.content for answer in found] == [PNG, HTML, SVG, HTML]
        for answer, kind in zip(found, ("image/png", *["application/octet-stream"] * 3), strict=True):
            check_headers(answer, "attachment", kind)
        assert found[0].headers["content-disposition"] == "attachment; filename*=UTF-8''b_%C3%A4.png"
        whole = await reader.get(f"/received/{number}/message")
        check_headers(whole, "attachment", "message/rfc822")
        assert whole.content == octets
        assert (await reader.get(f"/received/{number}/documents/5")).status_code == 404
        for path in ("documents", "documents/1", "message", "picture"):
            refused = await other.get(f"/received/{number}/{path}")
            assert (refused.status_code, refused.json()["key"]) == (403, "Authorization")
        assert (await other.get(f"/received/{number}")).status_code == 200
        await panel.device.spool.ledger.mark_done(number)
        gone = await reader.get(f"/received/{number}/documents")
        assert (gone.status_code, gone.json()["cause"]) == (409, "mail_state")


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_documents_on_the_page(panel: RunningPanel, client: BrowserClient) -> None:
    number = await fetched(panel, "page", mail("page"))
    page = await client.get(f"/received/{number}")
    assert 'aria-label="Open b_ä.png"' in page.text
    assert page.text.count("Open ") == 1
    address = f"/received/{number}/documents"
    check_headers(await client.get(f"{address}/1"), "inline", "image/png")
    check_headers(await client.get(f"{address}/1?save"), "attachment", "image/png")
    for document in (2, 3, 4):
        check_headers(await client.get(f"{address}/{document}"), "attachment", "application/octet-stream")
    check_headers(await client.get(f"/received/{number}/message"), "attachment", "message/rfc822")
    assert (await client.get(f"{address}/5")).status_code == 404
    async with BrowserClient(panel.address) as stranger:
        assert (await stranger.get(f"{address}/1")).status_code == 303
    await panel.device.spool.ledger.mark_done(number)
    assert "not kept any more" in words(await client.get(f"/received/{number}"))
    assert (await client.get(f"{address}/1")).status_code == 404
    assert (await client.get(f"/received/{number}/message")).status_code == 404


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_the_scope_of_a_key(panel: RunningPanel, client: BrowserClient) -> None:
    await client.submit("/administration/keys", "/administration", key_name="reads", key_documents="yes")
    await client.submit("/administration/keys", "/administration", key_name="reads not")
    keys = {each.name: each.documents for each in await run_sync(ApiKeys(panel.device.home, lambda: 0.0).all)}
    assert keys["reads"] is True
    assert keys["reads not"] is False
    assert "May read received documents" in words(await client.get("/administration"))

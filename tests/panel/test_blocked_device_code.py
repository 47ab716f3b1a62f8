"""An organisation blocks device codes under a device that has one: told, another flow offered, and all goes on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import httpx2
import pytest
from anyio.to_thread import run_sync

from command_line import mailslot
from mailslot.errors import TokenError
from mailslot.message import Message
from mailslot.oauth.flow import UserCode
from mailslot.sasl.credentials import AccessToken
from mailslot.spool.job import NewJob
from mailslot_plugins.panel.security.keys import ApiKeys
from mailslot_plugins.panel.translations import LANGUAGES, translate
from mailslot_plugins.sandbox import WebFault
from mailslot_plugins.tokens import device as device_flow
from panel.browser_client import BrowserClient, words
from panel.running_panel import SCANNER, RunningPanel, run_panel, sandbox_home
from tokens.people import enter_code, sign_in

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.flow import CodeDisplay
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.http import TokenHttp
    from mailslot.spool.job import Job, State
    from mailslot_plugins.sandbox import Sandbox

PAGE = "/slots/network.smtp/token"
CODE = "import sys; sys.argv[0] = 'mailslot'; from mailslot.cli import main; main()"


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """A command of the test runs in a process of its own."""
    return str(request.param)


async def step(admin: BrowserClient, *reached: str) -> str:
    """Return the page once a sign-in has come to one of these steps."""
    with anyio.fail_after(120):
        while True:
            text = (await admin.get(PAGE)).text
            if any(f'data-step="{name}"' in text for name in reached):
                return text
            await anyio.sleep(0.05)


async def until_tested(admin: BrowserClient) -> None:
    """Return once the test that follows a sign-in has ended; it must not see what is changed afterwards."""
    with anyio.fail_after(120):
        while "is now being tested" in words(await admin.get(PAGE)):  # noqa: ASYNC110 - no event tells
            await anyio.sleep(0.05)


async def get_token_by_code(admin: BrowserClient, sandbox: Sandbox) -> None:
    assert (await admin.submit(PAGE, way="device")).status_code == 303
    await step(admin, "code")
    code = sandbox.token_service.authorizations.devices[-1].user_code
    await enter_code(UserCode(code, f"{sandbox.issuer}/device", None, 0), SCANNER)


async def send(panel: RunningPanel) -> Job:
    job = NewJob("scan", "smtp", SCANNER, ["alice@example.com"], "A page", 86_400.0)
    message = Message(sender=SCANNER, to=["alice@example.com"], subject="A page", text="A page.")
    return await panel.device.spool.accept(job, message)


async def until(panel: RunningPanel, job: Job, state: State) -> Job:
    with anyio.fail_after(120):
        while (now := await panel.device.spool.job(job.id)).state != state:  # noqa: ASYNC110 - no event tells
            await anyio.sleep(0.05)
    return now


async def expire_access_token(panel: RunningPanel, sandbox: Sandbox) -> None:
    grant = await panel.device.records.tokens.store("smtp").load()
    assert grant is not None
    assert grant.access_token is not None
    sandbox.provider.expire(AccessToken(grant.access_token))


async def sign_in_by_command(home: Path) -> str:
    """Get a token as the command does without --flow; return what it printed."""
    environment = {**os.environ, "MAILSLOT_HOME": str(home), "COLUMNS": "200"}
    with subprocess.Popen(  # noqa: ASYNC220 - it is only started, and read from in threads
        [sys.executable, "-c", CODE, "token", "get", "network.smtp"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as running:
        try:
            assert running.stdout is not None
            printed = ""
            while not (found := re.search(r"^  (http://\S+)$", printed, re.MULTILINE)):
                line = await run_sync(running.stdout.readline)
                assert line, printed
                printed += line
            async with httpx2.AsyncClient(trust_env=False, timeout=120) as browser:
                await browser.get(await sign_in(found[1]))
            rest, errors = await run_sync(running.communicate)
            assert running.returncode == 0, errors
            return printed + rest
        finally:
            running.kill()


async def command(home: Path, *arguments: str, code: int = 0) -> str:
    ran = await run_sync(lambda: mailslot(*arguments, MAILSLOT_HOME=str(home), COLUMNS="200"))
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("by", ["panel", "command"])
async def test_a_policy_against_device_codes(tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_flow, "flow", device_flow.DeviceFlow(interval=0.1))
    async with sandbox_home(tmp_path) as sandbox, run_panel(tmp_path, serves=True) as panel:
        panel.device.records.change("smtp", {"scopes": "openid offline_access mail.send"}, {})
        sandbox.token_service.authorizations.interval = 0.1
        async with BrowserClient(panel.address) as admin:
            await admin.sign_in()
            await get_token_by_code(admin, sandbox)
            await step(admin, "done")
            await until_tested(admin)

            sandbox.provider.device_code_blocked = True
            await expire_access_token(panel, sandbox)
            held = await until(panel, await send(panel), "held")
            assert held.cause == "device_code_blocked"

            page = await admin.get(PAGE)
            assert "Your organisation no longer allows signing in by device code." in words(page)
            assert re.findall(r'name="way" value="(\w+)"', page.text) == ["browser", "paste"]
            assert "is not offered: your organisation does not allow it" in words(page)
            # A page from before, with its button, starts nothing either.
            await admin.submit(PAGE, way="device")
            assert "This way to sign in is no longer available" in words(await admin.get(PAGE))
            [status] = json.loads(await command(tmp_path, "token", "status", "network.smtp", "--json"))
            health = status["health"]
            assert (health["state"], health["cause"], health["flow"], health["client_id"]) == (
                "needs_token",
                "device_code_blocked",
                "device",
                "panel",
            )

            if by == "command":
                # Whoever names it may try it all the same.
                sandbox.token_service.faults.append(WebFault("device_authorization", act=False))
                tried = await command(tmp_path, "token", "get", "network.smtp", "--flow", "device", code=1)
                assert "Warning: your organisation has blocked the flow device" in tried
                sandbox.token_service.faults.clear()
                output = await sign_in_by_command(tmp_path)
                assert "has blocked the flow device, so the flow browser is used" in output
                assert "--flow paste" in output
                assert "--flow device" not in output
            else:
                await admin.submit(PAGE, way="browser")
                await step(admin, "address")
                address = (await admin.get(f"{PAGE}/progress")).headers["hx-redirect"]
                answer = httpx2.URL(await sign_in(address))
                await admin.get(answer.raw_path.decode())
                await step(admin, "done")
            await until(panel, held, "sent")
            page = await admin.get(PAGE)
            assert 'value="device"' in page.text  # once more, last
            assert "no longer allows" not in words(page)


async def test_a_sign_in_by_device_code_that_is_blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no token to remember it by; the page does for as long as it shows the failure."""
    monkeypatch.setattr(device_flow, "flow", device_flow.DeviceFlow(interval=0.1))
    async with sandbox_home(tmp_path) as sandbox, run_panel(tmp_path) as panel:
        sandbox.token_service.authorizations.interval = 0.1
        sandbox.provider.device_code_blocked = True
        async with BrowserClient(panel.address) as admin:
            await admin.sign_in()
            await get_token_by_code(admin, sandbox)
            text = await step(admin, "failed")
            # Through the API nobody has a browser, and this application has no secret.
            key = await run_sync(ApiKeys(tmp_path, lambda: 0.0).make, "script")
            headers = {"authorization": f"Bearer {key.reveal()}"}
            async with httpx2.AsyncClient(base_url=f"{panel.address}/api", headers=headers, trust_env=False) as script:
                refused = await script.post(PAGE, json={})
                assert (refused.status_code, refused.json()["cause"]) == (409, "device_code_blocked")
            assert "The organisation no longer lets anybody sign in" in text
            assert re.findall(r'name="way" value="(\w+)"', text) == ["browser", "paste"]


class Unreached(device_flow.DeviceFlow):
    """Device codes of a service that cannot be reached from here."""

    async def obtain(self, client: OAuthClient, http: TokenHttp, person: CodeDisplay) -> Grant:
        """Fail."""
        raise TokenError("Nobody answers.", cause="token_service_unreachable")


async def test_device_codes_come_last_with_a_warning_where_they_may_be_blocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_flow, "flow", Unreached())
    async with sandbox_home(tmp_path), run_panel(tmp_path) as panel, BrowserClient(panel.address) as admin:
        await admin.sign_in()
        assert translate("token", "way_can_be_blocked", "en") not in words(await admin.get(PAGE))
        panel.device.records.change("smtp", {"provider": "microsoft365"}, {})
        for language in LANGUAGES:
            page = await admin.get(PAGE, headers={"accept-language": language})
            assert re.findall(r'name="way" value="(\w+)"', page.text) == ["browser", "paste", "device"]
            shown = words(page)
            assert shown.count(translate("token", "way_can_be_blocked", language)) == 1
            assert translate("token", "best", language) in shown
        key = await run_sync(ApiKeys(tmp_path, lambda: 0.0).make, "script")
        headers = {"authorization": f"Bearer {key.reveal()}", "accept-language": "de"}
        async with httpx2.AsyncClient(base_url=f"{panel.address}/api", headers=headers, trust_env=False) as script:
            begun = (await script.post(PAGE, json={"way": "device"})).json()
            assert (begun["way"], begun["state"]) == ("device", "failed")
            assert begun["warning"] in {translate("token", "way_can_be_blocked", language) for language in LANGUAGES}

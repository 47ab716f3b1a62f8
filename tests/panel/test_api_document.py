"""The OpenAPI document: valid, complete, and correct, checked by schemathesis against the API."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from openapi_spec_validator import validate

from mailslot_plugins.panel.api.openapi import load_groups, openapi
from mailslot_plugins.panel.api.operation import make_routes
from panel.running_panel import SIZES, overflowing_elements, run_panel, take_screenshots
from panel.test_api import PAGE, ended, open_fleet

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from lab.browser import Browser

DOCS = Path(__file__).parents[2] / "docs" / "api.md"
SECONDS = 25

# What a schema cannot say is refused all the same: a host that is none, settings that cannot stand together, a folder
# where only printers can be named.
CONFIG = """
[parameters]
job = 1
mail = 1

[checks]
positive_data_acceptance.expected-statuses = ["2xx", "403", "404", "409", "412", "422"]
negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "415", "422"]
"""


def test_the_openapi_document_is_valid_and_complete() -> None:
    groups = load_groups()
    document = openapi(groups)
    validate(document)
    result = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    sections = {path.rpartition("/")[2] for _, path in result if path.startswith("/api/sections/")}
    there = {
        (method, route.path.replace("{section}", section))
        for route in make_routes(operation for group in groups for operation in group.operations)
        for method in route.methods or ()
        if method not in {"HEAD", "OPTIONS"}
        for section in (sections if "{section}" in route.path else {""})
    }
    assert result == there
    assert {"device", "panel", "fax"} <= sections
    names = {name for _, path in result for name in re.findall(r"\{(\w+)\}", path)}
    assert names == {name for group in groups for name in group.path_parameters}
    secret = document["paths"]["/api/slots/{slot}/settings"]["patch"]["requestBody"]["content"]["application/json"]
    assert secret["schema"]["properties"]["password"]["writeOnly"] is True


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_api_behaves_as_documented(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    home = tmp_path / "home"
    home.mkdir()
    async with open_fleet(home) as fleet:
        async with fleet.script as script:
            await script.post("/slots/fax.pop/poll")
            assert (await ended(script, "/slots/fax.pop/poll"))["result"]["fetched"] == 1
        done = await anyio.run_process(
            [
                *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config)),
                *("run", f"{fleet.panel.address}/api/openapi.json", "-H", f"Authorization: Bearer {fleet.key}"),
                *("--checks", "all", "--phases", "coverage,fuzzing", "--max-time", str(SECONDS), "--max-examples", "5"),
                # Of the sections, which are all alike, one is enough.
                *("--exclude-path-regex", "/sections/(alerts|panel|print|scan|status)$"),
                *("--seed", "1", "--no-shrink", "--warnings", "off", "--request-timeout", "120"),
            ],
            check=False,
            cwd=tmp_path,
        )
    assert done.returncode == 0, done.stdout.decode()
    assert [record.getMessage() for record in caplog.records if "has failed" in record.getMessage()] == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_examples_of_the_docs(tmp_path: Path) -> None:
    first, second, third, fourth = re.findall(r"```sh\n(.*?)```", DOCS.read_text(), re.DOTALL)
    async with open_fleet(tmp_path) as fleet:
        environment = {"PANEL": fleet.panel.address, "KEY": fleet.key, "PATH": "/usr/bin:/bin"}

        async def run(script: str) -> str:
            done = await anyio.run_process(["sh", "-euc", script], env=environment, cwd=tmp_path)
            return done.stdout.decode()

        assert "print.pop: No token has been obtained yet." in await run(first)
        assert '"check_interval":5' in await run(second)
        assert (await run(third)).splitlines()[-1].startswith("The connection works")
        for name in ("page1.pdf", "page2.pdf"):
            (tmp_path / name).write_bytes(PAGE.read_bytes())
        job = json.loads(await run(fourth))
        assert (job["subject"], json.loads(await run(fourth))["id"]) == ("Contract", job["id"])
        async with fleet.script as script:
            assert (await script.get("/slots/fax.pop/settings")).json()["settings"]["after_fetch"] == "keep"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_page_shows_the_document(tmp_path: Path, browser: Browser) -> None:
    async with run_panel(tmp_path) as panel:

        def look(page: Page) -> None:
            panel.sign_in(page, "/api/")
            page.click("text=PATCH /api/slots/{slot}/settings")
            assert page.is_visible("text=check_interval")
            assert page.is_visible("text=seconds from 1 to 600")
            for size in SIZES.values():
                page.set_viewport_size({"width": size[0], "height": size[1]})
                assert overflowing_elements(page) == []
            take_screenshots(page, "api")
            page.click("text=OpenAPI 3.1")
            page.wait_for_load_state()
            assert '"openapi":"3.1.0"' in page.content()

        await browser.visit(look)

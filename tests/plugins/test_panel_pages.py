"""Panel pages of third-party pipelines: a damaged one affects only itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from panel.browser_client import BrowserClient
from panel.running_panel import run_panel

if TYPE_CHECKING:
    from pathlib import Path

    from plugins.conftest import Site

PIPELINE = """
from mailslot.plugin import Done, Key, PanelPackage, Section, keys

class Pipeline:
    polls = None

    def __init__(self, name, package, **more):
        self.name = name
        self.section = Section(name, {"way": Key("left or right", keys.one_of("left", "right"), default="left")})
        self.panel = PanelPackage(package, **more)

    async def handle(self, mail, device):
        return Done()

    async def run(self, device):
        pass

fine = Pipeline("fine", "acme_fine", has_page=True, records=("smtp", "no-such-record"))
lost = Pipeline("lost", "acme_lost", has_page=True)
outside = Pipeline("outside", "acme_outside", has_page=True)
jobs = Pipeline("jobs", "acme_jobs", has_page=True)
wrong = Pipeline("wrong", "acme_wrong")
wrong.panel = "acme_wrong"
"""
PAGE = """
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def show(request):
    return PlainTextResponse("theirs")

async def leave(request):
    raise SystemExit(3)

async def attention(device, language, named):
    raise KeyboardInterrupt

routes = [Route({path!r}, show), Route({path!r} + "/leave", leave)]
"""
NAMES = ("fine", "lost", "outside", "jobs", "wrong")
WORDS = """
[setting_way]
en = "Which {way}"
[choice_left]
en = "Left {{hand}}"
[choice_right]
de = "Rechts"
"""


@pytest.fixture
def acme(site: Site) -> None:
    site.module("acme", PIPELINE)
    site.install("acme", "[mailslot.pipelines]\n" + "".join(f"{name} = acme:{name}\n" for name in NAMES))
    for name, page in {
        "fine": PAGE.format(path="/fine"),
        "lost": "raise SystemExit(2)",
        "outside": PAGE.format(path="/outsider"),
        "jobs": PAGE.format(path="/jobs"),
    }.items():
        folder = site.path / f"acme_{name}"
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "page.py").write_text(page)
        (folder / "words.toml").write_text(WORDS if name == "fine" else "no TOML")
        site.modules += [folder.name, f"{folder.name}.page"]


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_broken_plugin_page_does_not_break_the_panel(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with run_panel(tmp_path / "home") as panel, BrowserClient(panel.address) as admin:
        await admin.sign_in()

        async def page(path: str, status: int = 200) -> str:
            answer = await admin.get(path, headers={"accept-language": "de"})
            assert answer.status_code == status, answer.text
            return answer.text

        home = await page("/")
        assert '<a href="/fine">' in home
        assert not [name for name in ("lost", "outside", "outsider", "wrong") if f'<a href="/{name}">' in home]
        assert await page("/fine") == "theirs"
        assert "theirs" not in await page("/jobs")
        for path in ("/lost", "/outside", "/outsider"):
            await page(path, 404)
        await page("/fine/leave", 500)
        assert await page("/fine") == "theirs"
        settings = await page("/settings/fine")
        assert '<label for="way">Which {way}</label>' in settings, "no text is filled that does not ask for it"
        assert ">Left {hand}</option>" in settings
        assert ">right</option>" in settings, "without English there are no words"
        assert 'href="/fine"' in settings
        assert 'href="/settings/fine"' in await page("/slots/network.smtp")
        assert '<label for="way">Way</label>' in await page("/settings/lost")
        assert 'class="back" href="/administration"' in await page("/settings/lost")
    left_out = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    for name in ("lost", "outside", "jobs", "wrong"):
        assert [text for text in left_out if f"pipeline {name} " in text], name
    assert "acme_fine.page" in sys.modules

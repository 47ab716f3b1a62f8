"""Takes pictures of every page of the panel, and puts them on contact sheets: ``script/screenshots FOLDER``.

The pages are those of the demo's device that links lead to, and those before somebody has signed in: at three widths,
in English in light and dark colours, and in German. What does not fit the window is printed.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

import anyio
from anyio.to_thread import run_sync
from PIL import Image, ImageDraw

from lab.browser import start_browser
from mailslot_plugins.sandbox.demo import scanned_page
from mailslot_plugins.sandbox.demo_device import PASSWORD, populate_demo_device, set_up_demo_device
from mailslot_plugins.sandbox.sandbox import run_sandbox
from panel.running_panel import SIZES, overflowing_elements, run_panel

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from panel.running_panel import RunningPanel

VARIANTS: Final = (("en", "light"), ("en", "dark"), ("de", "light"))
"""Languages with their colours, unless the command line names others."""

FIRST: Final = ("/", "/send", "/addressbook/entry", "/addressbook/directory", "/settings/addressbook", "/nothing-here")
"""Where links are looked for first."""

_ALIKE: Final = 2
"""The pages that differ only by a number or a name, such as those of jobs, of which this many are enough."""

_MAX_PAGES: Final = 150
_HEIGHT: Final = "document.documentElement.scrollHeight"
_SHEET: Final = (1060, 1140)
_COLUMNS: Final = {1280: 2, 800: 3, 390: 5}
_LINE: Final = 20
_GAP: Final = 8
_SKIPPED: Final = re.compile(
    r"^/(sign-out|static|api/)|\?.*&|/(export|picture|message|documents/)|\.(csv|png|zip|txt|pdf|eml)$"
)


@dataclass
class _Album:
    folder: Path
    variants: tuple[tuple[str, str], ...]
    too_wide: list[str] = field(default_factory=list)

    def add(self, page: Page, path: str) -> None:
        """Take all pictures of a page."""
        name = re.sub(r"[^a-z0-9.]+", "-", path.lower()).strip("-") or "home"
        for language, scheme in self.variants:
            page.context.add_cookies([{"name": "language", "value": language, "domain": "127.0.0.1", "path": "/"}])
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type] - light or dark
            page.reload()
            for width, height in SIZES.values():
                page.set_viewport_size({"width": width, "height": height})
                self.too_wide += [f"{path} at {width} in {language}: {each}" for each in overflowing_elements(page)]
                # As tall as the page, so that what stays at the bottom of a window is at its end.
                page.set_viewport_size({"width": width, "height": max(height, int(page.evaluate(_HEIGHT)))})
                page.screenshot(path=self.folder / f"{width}-{language}-{scheme}" / f"{name}.png", full_page=True)


def visit(panel: RunningPanel, album: _Album, page: Page) -> None:
    """Visit all pages that links lead to."""
    page.goto(f"{panel.address}/sign-in")
    album.add(page, "/sign-in")
    panel.sign_in(page, password=PASSWORD)
    waiting, seen, alike = list(FIRST), set[str](), dict[str, int]()
    while waiting and len(seen) < _MAX_PAGES:
        path = waiting.pop(0)
        pattern = re.sub(r"[0-9]+|=[^&]+", "…", path)
        if path in seen or alike.get(pattern, 0) >= _ALIKE:
            continue
        seen.add(path)
        answer = page.request.get(panel.address + path)
        if "text/html" not in answer.headers.get("content-type", "") or not answer.url.startswith(panel.address):
            continue
        alike[pattern] = alike.get(pattern, 0) + 1
        page.goto(panel.address + path)
        album.add(page, path)
        links: list[str] = page.eval_on_selector_all("a[href]", "links => links.map(link => link.getAttribute('href'))")
        for link in links:
            found = urlsplit(urljoin(page.url, link))
            target = found.path + (f"?{found.query}" if found.query else "")
            if f"{found.scheme}://{found.netloc}" == panel.address and not _SKIPPED.search(target):
                waiting.append(target)
        print(f"{len(seen):4} {path}", flush=True)


def visit_first_start(panel: RunningPanel, album: _Album, page: Page) -> None:
    """Visit what is shown before the panel has a password."""
    page.goto(panel.address)
    album.add(page, urlsplit(page.url).path)


def make_contact_sheets(folder: Path) -> list[Path]:
    """Put the pictures of a folder on contact sheets beside it, in columns, and return these."""
    columns = _COLUMNS[int(folder.name.split("-")[0])]
    width = _SHEET[0] // columns
    sheets: list[Image.Image] = []
    bottoms: list[int] = []
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize((width - _GAP, picture.height * (width - _GAP) // picture.width))
        small = small.crop((0, 0, small.width, min(small.height, _SHEET[1] - _LINE)))
        if not bottoms or min(bottoms) + _LINE + small.height > _SHEET[1]:
            sheets.append(Image.new("RGB", _SHEET, "#888"))
            bottoms = [0] * columns
        column = bottoms.index(min(bottoms))
        ImageDraw.Draw(sheets[-1]).text((column * width, bottoms[column] + 4), path.stem, fill="#fff")
        sheets[-1].paste(small, (column * width, bottoms[column] + _LINE))
        bottoms[column] += _LINE + small.height
    paths = [folder.parent / f"sheet-{folder.name}-{number}.png" for number in range(1, len(sheets) + 1)]
    for sheet, path in zip(sheets, paths, strict=True):
        sheet.save(path)
    return paths


async def take_all(folder: Path, variants: tuple[tuple[str, str], ...]) -> None:
    """Take all pictures."""
    album = _Album(folder, variants)
    with start_browser() as browser, TemporaryDirectory() as home:
        async with run_panel(Path(home) / "new", claimed=False) as panel:
            await browser.visit(partial(visit_first_start, panel, album))
        async with run_sandbox() as sandbox:
            used = Path(home) / "used"
            await run_sync(used.mkdir)
            await run_sync(set_up_demo_device, used, sandbox)
            past = partial(populate_demo_device, sandbox=sandbox, page=scanned_page())
            async with run_panel(used, claimed=False, serves=True, before=past) as panel:
                await browser.visit(partial(visit, panel, album))
    print(*album.too_wide, sep="\n")


def main(arguments: list[str]) -> None:
    """Take the pictures: FOLDER [LANGUAGE:light|dark …]."""
    if not arguments:
        sys.exit("script/screenshots FOLDER [LANGUAGE:light|dark …]")
    chosen = tuple(
        (language, scheme or "light") for language, _, scheme in (each.partition(":") for each in arguments[1:])
    )
    folder = Path(arguments[0])
    anyio.run(take_all, folder, chosen or VARIANTS)
    for each in sorted(path for path in folder.iterdir() if path.is_dir()):
        print(*make_contact_sheets(each), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])

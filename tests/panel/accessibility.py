"""What keeps people from using a page: the findings of axe, and what is too wide or too small for a screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from panel.running_panel import SIZES, overflowing_elements

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = Path(__file__).parents[1] / "lab" / "node" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
"""WCAG 2.2 AA."""

OF_COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
"""What may differ between a page in light colours and in dark ones."""


def page_faults(page: Page, name: str) -> list[str]:
    """Return what is wrong with a page, in all sizes and both colour schemes; `name` is what it is called there."""
    found: list[str] = []
    page.wait_for_load_state()
    for size, (width, height) in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        found.extend(f"{name} at {size}: {each} is too wide" for each in overflowing_elements(page))
        found.extend(f"{name} at {size}: {each}" for each in too_small(page))
    page.evaluate(AXE.read_text())
    for scheme, rules, least in (("light", RULES, 10), ("dark", OF_COLOURS, 0)):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type] - light or dark
        result = page.evaluate("rules => axe.run(document, {runOnly: rules})", rules)
        assert len(result["passes"]) > least
        for rule in result["violations"]:
            where = [node["target"] for node in rule["nodes"]][:3]
            found.append(f"{name} in {scheme}: {rule['id']}: {rule['help']} {where}")
    return found


def too_small(page: Page) -> list[str]:
    """Return what is to be pressed and too small for a finger: less than 44 pixels high, save for links in a text."""
    return page.evaluate(
        """() => [...document.querySelectorAll("button, a.button, select, input:not([type=hidden]), nav a, summary")]
            .filter(e => e.offsetParent && !e.closest(".hidden, .path, .crumbs, nav[aria-label=breadcrumbs]"))
            .map(e => [e, (e.closest("label.check") || e).getBoundingClientRect()])
            .filter(([e, box]) => box.height > 0 && box.height < 43.5)
            .map(([e, box]) => `${e.tagName} ${e.textContent.trim().slice(0, 30)} is ${box.height} pixels high`)"""
    )

"""The generated parts of the pages in the tree are those that the code makes now."""

from __future__ import annotations

import re

from generators.hook import pages, refresh_page

GENERATED = ("causes.md", "commands.md", "settings.md", "index.md")


def test_the_pages_are_up_to_date() -> None:
    """After a change of commands, settings, causes or providers: ``script/docs generate``."""
    texts = {page: page.read_text(encoding="utf-8") for page in pages()}
    assert [page.name for page, text in texts.items() if refresh_page(text) != text] == []


def test_a_checkout_has_them() -> None:
    texts = {page.name: page.read_text(encoding="utf-8") for page in pages() if page.parent.name == "docs"}
    for name in GENERATED:
        assert "<!-- generated: " in texts[name]
    assert texts["causes.md"].count("| Who must act |") > 90
    assert texts["commands.md"].count("## `mailslot ") > 40
    assert "`client_id`" in texts["settings.md"]


def test_a_page_that_is_not_up_to_date_is_noticed() -> None:
    text = next(page for page in pages() if page.name == "commands.md").read_text(encoding="utf-8")
    changed = text.replace("Test the connection", "Taste the connection")
    assert changed != text
    assert refresh_page(changed) == text
    assert (
        refresh_page(re.sub(r"(<!-- generated: commands -->).*?(<!-- end -->)", r"\1\n\2", text, flags=re.DOTALL))
        == text
    )

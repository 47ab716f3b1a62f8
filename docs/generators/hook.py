"""The MkDocs hook that fills in what is generated from the code.

A page has marks: ``<!-- made: library -->`` is filled in while the site is built. What stands between
``<!-- generated: causes -->`` and ``<!-- end -->`` is in the page itself, for those who read it in a checkout;
``script/docs generate`` writes it anew, and ``tests/test_docs_generated.py`` checks it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from generators import causes, codes, commands, library, providers, settings, slots, states

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GENERATORS: Final[Mapping[str, Callable[..., str]]] = {
    "aadsts-codes": codes.aadsts_codes,
    "causes": causes.all_causes,
    "commands": commands.all_commands,
    "evidence": causes.evidence,
    "device-settings": settings.device_settings,
    "library": library.reference,
    "panel-codes": codes.panel_codes,
    "listener-settings": settings.listener_settings,
    "provider": providers.facts,
    "providers": providers.all_providers,
    "section-settings": settings.section_settings,
    "slots": slots.all_slots,
    "slot-settings": settings.slot_settings,
    "smtp-codes": codes.smtp_codes,
    "states": states.machine,
    "texts": codes.texts,
    "token-errors": codes.token_errors,
}

_MARK: Final = re.compile(r"^<!-- made: ([\w-]+)((?: [\w-]+)*) -->$", re.MULTILINE)
_BLOCK: Final = re.compile(r"^<!-- generated: ([\w-]+)((?: [\w-]+)*) -->$.*?^<!-- end -->$", re.MULTILINE | re.DOTALL)


def fill_page(markdown: str) -> str:
    """Return a page with the generated parts filled in.

    Args:
        markdown: the page.

    Raises:
        KeyError: it names an unknown generator.
    """
    return _MARK.sub(lambda mark: GENERATORS[mark[1]](*mark[2].split()), refresh_page(markdown))


def refresh_page(markdown: str) -> str:
    """Return a page with the parts between its marks generated anew, as it is to stand in a checkout.

    Args:
        markdown: the page.

    Raises:
        KeyError: it names an unknown generator.
    """

    def block(mark: re.Match[str]) -> str:
        text = GENERATORS[mark[1]](*mark[2].split()).strip()
        text = re.sub(r"\n{3,}", "\n\n", text)
        return f"<!-- generated: {mark[1]}{mark[2]} -->\n\n{text}\n\n<!-- end -->"

    return _BLOCK.sub(block, markdown)


def pages() -> list[Path]:
    """Return the pages of the site."""
    return sorted(Path(__file__).parents[1].glob("**/*.md"))


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401 - MkDocs hands over what it has
    """Fill a page in."""
    return fill_page(markdown)


if __name__ == "__main__":
    checks = "--check" in sys.argv[1:]
    stale = {page: text for page in pages() if (text := refresh_page(before := page.read_text("utf-8"))) != before}
    for path, text in stale.items():
        if not checks:
            path.write_text(text, encoding="utf-8")
        print(f"{'not up to date' if checks else 'written'}: {path}")
    if stale and checks:
        sys.exit("The generated parts of these pages are old: script/docs generate")

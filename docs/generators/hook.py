"""The MkDocs hook that fills in what is generated from the code.

A page has marks: ``<!-- made: causes -->``, ``<!-- made: provider google -->``.
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


def fill_page(markdown: str) -> str:
    """Return a page with the generated parts filled in.

    Args:
        markdown: the page.

    Raises:
        KeyError: it names an unknown generator.
    """
    return _MARK.sub(lambda mark: GENERATORS[mark[1]](*mark[2].split()), markdown)


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401 - MkDocs hands over what it has
    """Fill a page in."""
    return fill_page(markdown)

"""How large a mail may be, as far as is known before it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailslot.slots.effective_settings import preset_provider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.settings import Settings

USUAL: Final = 25_000_000
"""Octets that a mail may have where nobody has said anything: what most servers take, 25 MB."""


def size_limit(announced: int | None, settings: Settings, section: Mapping[str, Any]) -> int:
    """Return the most octets of a mail.

    Args:
        announced: what the mail server said last (RFC 1870 section 4); None where it has not been heard, 0 where it
            said that it has no limit.
        settings: those of the record.
        section: those of ``[scan]``; their ``max_size`` holds in any case.
    """
    provider = preset_provider(settings)
    known = announced or (provider.limits.message_octets if provider is not None else None)
    own: int | None = section["max_size"]
    given = [limit for limit in (known, own) if limit]
    return min(given) if given else USUAL

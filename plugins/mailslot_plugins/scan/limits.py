"""How large a mail may be, as far as that is known before it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mailslot.slots.effective_settings import preset_provider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.slots.settings import Settings

DEFAULT_SIZE_LIMIT: Final = 25_000_000
"""The limit if neither server nor settings give one: 25 MB, which most servers accept."""


def size_limit(announced: int | None, settings: Settings, section: Mapping[str, Any]) -> int:
    """Return the most octets that a mail may have.

    Args:
        announced: the SIZE that the mail server announced last (RFC 1870 section 4); None if unknown, 0 if the server
            has no limit.
        settings: the record's settings.
        section: the settings ``[scan]``; their ``max_size`` holds in any case.
    """
    provider = preset_provider(settings)
    known = announced or (provider.limits.message_octets if provider is not None else None)
    configured: int | None = section["max_size"]
    limits = [limit for limit in (known, configured) if limit]
    return min(limits) if limits else DEFAULT_SIZE_LIMIT

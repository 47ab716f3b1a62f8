"""The capabilities of recipients (RFC 2530, RFC 2879): learned from their receipts, forgotten after a failure.

A forged receipt can only cause a fax to be sent in MMR, until the next failure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot.spool.store import Store
    from mailslot_plugins.fax.coding import Coding

OWN_FEATURES: Final = (
    "(& (image-file-structure=[TIFF-minimal,TIFF-limited]) (MRC-mode=0) (color=Binary) (image-coding=[MH,MR,MMR]) "
    "(| (& (dpi=204) (dpi-xyratio=[204/98,204/196])) (& (dpi=200) (dpi-xyratio=[200/100,1]))) "
    "(size-x<=2150/254) (paper-size=A4) (ua-media=stationery))"
)
"""The features of this device, as sent in receipts (RFC 2879 section 4.1)."""

_MAX_LENGTH: Final = 4096
_MAX_KNOWN: Final = 1000
_IMAGE_CODING: Final = re.compile(r"image-coding\s*=\s*(\[[^\]]*\]|[^\s()\[\],]+)", re.IGNORECASE)
_KEY_PREFIX: Final = "capable "


async def learn_capabilities(store: Store, address: str, features: str, now: float) -> None:
    """Store a recipient's capabilities; an expression that is not understood is ignored."""
    if not takes_mmr(features):
        return
    known = {name: value for name, value in (await store.items()).items() if name.startswith(_KEY_PREFIX)}
    while len(known) >= _MAX_KNOWN:
        oldest = min(known, key=lambda name: _learned_at(known[name]))
        del known[oldest]
        await store.delete(oldest)
    await store.put(_key(address), {"coding": "MMR", "at": now})


async def forget_capabilities(store: Store, address: str) -> None:
    """Delete a recipient's capabilities, after a failure there."""
    await store.delete(_key(address))


async def best_coding(store: Store, recipients: Iterable[str]) -> Coding:
    """Return the best coding that all recipients are known to accept; MH if one is unknown."""
    for address in recipients:
        if await store.get(_key(address)) is None:
            return "MH"
    return "MMR"


def takes_mmr(features: str) -> bool:
    """Return whether an expression (RFC 2533) says without doubt that MMR is accepted."""
    if len(features) > _MAX_LENGTH or "!" in features:
        return False
    codings = (word.strip(" []").upper() for found in _IMAGE_CODING.findall(features) for word in found.split(","))
    return "MMR" in codings


def _key(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{_KEY_PREFIX}{local}@{domain.lower()}"


def _learned_at(value: Any) -> float:  # noqa: ANN401 - any JSON
    return float(value["at"])

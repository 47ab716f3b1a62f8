"""What recipients have said they can take (RFC 2530, RFC 2879): learned from their receipts, and forgotten on trouble.

Whoever forges a receipt can only have a fax sent in MMR, and the next failure ends that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot.spool.store import Store
    from mailslot_plugins.fax.coding import Coding

OURS: Final = (
    "(& (image-file-structure=[TIFF-minimal,TIFF-limited]) (MRC-mode=0) (color=Binary) (image-coding=[MH,MR,MMR]) "
    "(| (& (dpi=204) (dpi-xyratio=[204/98,204/196])) (& (dpi=200) (dpi-xyratio=[200/100,1]))) "
    "(size-x<=2150/254) (paper-size=A4) (ua-media=stationery))"
)
"""What this device takes, as it tells it in receipts (RFC 2879 section 4.1)."""

_MAX: Final = 4096
_MAX_KNOWN: Final = 1000
_CODINGS: Final = re.compile(r"image-coding\s*=\s*(\[[^\]]*\]|[^\s()\[\],]+)", re.IGNORECASE)
_KNOWN: Final = "capable "


async def learn(store: Store, address: str, features: str, now: float) -> None:
    """Remember what a recipient has said of itself; nothing is remembered of what is not understood."""
    if not takes_mmr(features):
        return
    known = {name: value for name, value in (await store.items()).items() if name.startswith(_KNOWN)}
    while len(known) >= _MAX_KNOWN:
        oldest = min(known, key=lambda name: _at(known[name]))
        del known[oldest]
        await store.delete(oldest)
    await store.put(_key(address), {"coding": "MMR", "at": now})


async def forget(store: Store, address: str) -> None:
    """Forget it, since something went wrong there."""
    await store.delete(_key(address))


async def coding_for(store: Store, addresses: Iterable[str]) -> Coding:
    """Return the best coding that all of them are known to take; MH where one is not known."""
    for address in addresses:
        if await store.get(_key(address)) is None:
            return "MH"
    return "MMR"


def takes_mmr(features: str) -> bool:
    """Tell whether an expression (RFC 2533) says without doubt that MMR is taken."""
    if len(features) > _MAX or "!" in features:
        return False
    named = (word.strip(" []").upper() for found in _CODINGS.findall(features) for word in found.split(","))
    return "MMR" in named


def _key(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{_KNOWN}{local}@{domain.lower()}"


def _at(value: Any) -> float:  # noqa: ANN401 - any JSON
    return float(value["at"])

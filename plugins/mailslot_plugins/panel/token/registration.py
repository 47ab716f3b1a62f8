"""The instructions for registering an application, in the language of the page."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.oauth.providers import Provider

_LIKE: Final[Mapping[str, str]] = {
    "microsoft365-us": "microsoft365",
    "microsoft365-china": "microsoft365",
    "aol": "yahoo",
}
"""Providers whose instructions differ only in the address or the name."""

_ADDRESS: Final = re.compile(r"https://[^\s,;]+[^\s,;:.]")


def registration_text(provider: Provider, language: str) -> str:
    """Return a provider's instructions; in English, as `Provider.registration` has them, if there is no translation."""
    text = _texts().get(_LIKE.get(provider.id, provider.id), {}).get(language)
    if text is None:
        return provider.registration
    address = _ADDRESS.search(provider.registration)
    return text.replace("{address}", address[0] if address else "").replace("{name}", provider.name)


@cache
def _texts() -> Mapping[str, Mapping[str, str]]:
    text = files("mailslot_plugins.panel.token").joinpath("registration.toml").read_text("utf-8")
    return cast("Mapping[str, Mapping[str, str]]", tomllib.loads(text))

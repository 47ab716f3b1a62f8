"""The mechanisms that there are. Another one is a class in a file of its own, handed to `register`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from mailslot.sasl.bearer import OAuthBearer, XOAuth2
from mailslot.sasl.password import Login, Plain
from mailslot.sasl.scram import ScramSha256

if TYPE_CHECKING:
    from mailslot.sasl.mechanism import CredentialKind, Identity, Mechanism

M = TypeVar("M", bound="type[Mechanism]")

_mechanisms: dict[str, type[Mechanism]] = {}


def register(mechanism: M) -> M:
    """Have a mechanism used wherever a server offers it; can stand above its class as a decorator.

    Raises:
        ValueError: there is another one of this name.
    """
    if _mechanisms.setdefault(mechanism.name, mechanism) is not mechanism:
        raise ValueError(f"there is a mechanism {mechanism.name} already")
    return mechanism


def names(kind: CredentialKind) -> tuple[str, ...]:
    """Return the names of the mechanisms for one kind of credentials, the strongest first."""
    found = [mechanism for mechanism in _mechanisms.values() if mechanism.kind == kind]
    return tuple(mechanism.name for mechanism in sorted(found, key=lambda one: -one.strength))


def create(name: str, identity: Identity) -> Mechanism:
    """Return a new sign-in by the mechanism of this name, which `names` returns.

    Raises:
        InputError: the user or the secret cannot be used with it.
    """
    return _mechanisms[name](identity)


for _own in (OAuthBearer, XOAuth2, ScramSha256, Plain, Login):
    register(_own)

"""The registry of mechanisms. A further mechanism is a class that is passed to `register`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from mailslot.sasl.bearer import OAuthBearer, XOAuth2
from mailslot.sasl.password import Login, Plain
from mailslot.sasl.scram import ScramSha256

if TYPE_CHECKING:
    from mailslot.sasl.mechanism import AuthenticationContext, CredentialKind, Mechanism

M = TypeVar("M", bound="type[Mechanism]")

_mechanisms: dict[str, type[Mechanism]] = {}


def register(mechanism: M) -> M:
    """Register a mechanism, to be used wherever a server offers it; can be used as a class decorator.

    Raises:
        ValueError: there is another mechanism of this name.
    """
    if _mechanisms.setdefault(mechanism.name, mechanism) is not mechanism:
        raise ValueError(f"there is a mechanism {mechanism.name} already")
    return mechanism


def mechanism_names(kind: CredentialKind) -> tuple[str, ...]:
    """Return the names of the mechanisms for a kind of credential, the strongest first."""
    found = [mechanism for mechanism in _mechanisms.values() if mechanism.credential_kind == kind]
    return tuple(mechanism.name for mechanism in sorted(found, key=lambda one: -one.strength))


def create_mechanism(name: str, context: AuthenticationContext) -> Mechanism:
    """Return a new instance of the mechanism of this name.

    Raises:
        InputError: the user or the secret cannot be used with it.
    """
    return _mechanisms[name](context)


for _own in (OAuthBearer, XOAuth2, ScramSha256, Plain, Login):
    register(_own)

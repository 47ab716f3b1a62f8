"""Authorization of staff: the roles of a signed-in person, and the requests that they allow.

The values of a claim in the ID token, such as groups, give a person roles. A role is for the whole fleet or for one
tenant, and either allows changes or is read-only.

A person is identified by `sub` alone, which never changes. An e-mail address may be anything that somebody has entered,
unless the provider says that it is verified (OpenID Connect Core section 5.1); only then does it give a role.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

from mailslot.errors import InputError
from mailslot.fleet.address import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RoleName = Literal["fleet", "tenant", "read-only"]
"""Fleet: sees and changes everything. Tenant: sees and changes one tenant. Read-only: sees everything or one tenant."""

ROLES: Final[tuple[RoleName, ...]] = get_args(RoleName)

TENANT_PLACE: Final = "{tenant}"
"""The placeholder for the name of a tenant in the value of a rule."""

Refusal = Literal["hidden", "read_only"]
"""Why a request is refused: its subject does not exist for this person, or they may only read."""

_SAFE: Final = frozenset({"GET", "HEAD"})
_OWN: Final = frozenset({"/sign-out", "/preferences"})
"""Paths that everybody may request, since they affect only their own session and browser."""

_OF_TENANT: Final = re.compile(r"/tenants/([^/]*)")

_NAMES: Final = ("email", "preferred_username", "upn", "name", "sub")
"""The claims with a person's name, the most useful one for the log first."""

_MAX_NAME: Final = 200

# Some providers send booleans as texts.
_YES: Final = (True, "true")
_NO: Final = (False, "false")


@dataclass(frozen=True, slots=True)
class RoleRule:
    """The role that a value of the claim gives.

    Attributes:
        value: the value; `TENANT_PLACE` in it stands for the name of any tenant.
        role: the role.
        tenant: the tenant that it is for; empty for all tenants, or for the tenant named in the value.
    """

    value: str
    role: RoleName
    tenant: str = ""

    def __post_init__(self) -> None:
        named = TENANT_PLACE in self.value
        if self.tenant and not named:
            check_name(self.tenant)
        if self.role == "tenant" and not (named or self.tenant):
            raise InputError(
                f'The role tenant for {self.value!r} needs a tenant: tenant = "NAME", or {TENANT_PLACE} in the value.',
                stage="resolve",
            )
        if named and (self.tenant or self.role == "fleet"):
            raise InputError(
                f"{self.value!r} names the tenant itself, so its role is tenant or read-only, without tenant.",
                stage="resolve",
            )

    def tenant_for(self, value: str) -> str | None:
        """Return the tenant for which a value gives the role; empty for all, None if it does not give it."""
        before, place, after = self.value.partition(TENANT_PLACE)
        if not place:
            return self.tenant if value == self.value else None
        name = value[len(before) : len(value) - len(after)]
        if not (value.startswith(before) and value.endswith(after) and value == before + name + after):
            return None
        try:
            return check_name(name)
        except InputError:
            return None


@dataclass(frozen=True, slots=True)
class Staff:
    """A signed-in person.

    Attributes:
        subject: the id that the provider gives the person, which never changes.
        name: their name, for the log.
        sees: the tenants that they may see; None for all.
        changes: the tenants that they may change; None for all.
    """

    subject: str
    name: str
    sees: frozenset[str] | None
    changes: frozenset[str] | None

    def may_see(self, tenant: str) -> bool:
        """Return whether they may see a tenant."""
        return self.sees is None or tenant in self.sees

    def may_change(self, tenant: str | None) -> bool:
        """Return whether they may change a tenant, or for None, the fleet as a whole."""
        return self.changes is None or (tenant is not None and tenant in self.changes)

    def refusal(self, method: str, path: str) -> Refusal | None:
        """Return why a request is refused; None if it is allowed. No other check of roles is needed.

        Args:
            method: the HTTP method.
            path: the path that is used for routing.
        """
        tenant = tenant_of(path)
        if tenant is not None and not self.may_see(tenant):
            return "hidden"
        if method not in _SAFE and path not in _OWN and not self.may_change(tenant):
            return "read_only"
        return None


def tenant_of(path: str) -> str | None:
    """Return the tenant that a path is about; None if it is about the fleet."""
    found = _OF_TENANT.match(path)
    return None if found is None else found[1]


def staff_of_claims(claims: Mapping[str, Any], claim: str, rules: Iterable[RoleRule]) -> Staff | None:
    """Return the person whose ID token has these claims; None if none of the values gives them a role.

    Args:
        claims: the claims of the ID token, verified.
        claim: the name of the claim with the values; with dots, the path to it in nested objects.
        rules: the role of each value.
    """
    if is_unverified(claims, claim):
        return None
    sees: set[str] = set()
    changes: set[str] = set()
    sees_all = changes_all = False
    for value in _values(claims, claim):
        for rule in rules:
            tenant = rule.tenant_for(value)
            if tenant is None:
                continue
            changing = rule.role != "read-only"
            if tenant:
                sees.add(tenant)
                changes.update({tenant} if changing else ())
            else:
                sees_all, changes_all = True, changes_all or changing
    if not (sees_all or sees):
        return None
    return Staff(
        str(claims["sub"]),
        next((text for key in _NAMES if (text := _name(claims, key))), "?"),
        None if sees_all else frozenset(sees),
        None if changes_all else frozenset(changes),
    )


def is_unverified(claims: Mapping[str, Any], claim: str) -> bool:
    """Return whether roles follow from the e-mail address, which the provider does not say to be verified."""
    return claim == "email" and claims.get("email_verified") not in _YES


def _name(claims: Mapping[str, Any], key: str) -> str:
    """Return a name for the log; not an address that the provider says not to be verified."""
    return "" if key == "email" and claims.get("email_verified") in _NO else _printable(claims.get(key))


def _values(claims: Mapping[str, Any], claim: str) -> list[str]:
    """Return the values of a claim, which is a text or a list of texts."""
    # The name of a claim may itself have dots, such as https://example.com/groups.
    found: object = claims.get(claim)
    if found is None:
        found = claims
        for part in claim.split("."):
            found = cast("Mapping[str, object]", found).get(part) if isinstance(found, dict) else None
    listed = cast("list[object]", found) if isinstance(found, list) else [found]
    return [value for value in listed if isinstance(value, str)]


def _printable(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(character for character in text[:_MAX_NAME] if character.isprintable())

"""Roles by claims, and what each may request."""

from __future__ import annotations

import pytest

from mailslot.errors import InputError
from mailslot_plugins.panel.fleet.staff import RoleRule, Staff, is_unverified, staff_of_claims

RULES = (
    RoleRule("admins", "fleet"),
    RoleRule("t-{tenant}-x", "tenant"),
    RoleRule("acme-team", "tenant", "acme"),
    RoleRule("readers", "read-only"),
    RoleRule("acme-readers", "read-only", "acme"),
    RoleRule("look-{tenant}", "read-only"),
)


def staff(*groups: object, claim: str = "groups") -> Staff | None:
    return staff_of_claims({"sub": "1", "email": "a@example.com", "groups": [*groups]}, claim, RULES)


@pytest.mark.parametrize(
    ("groups", "sees", "changes"),
    [
        (["admins"], None, None),
        (["t-acme-x"], {"acme"}, {"acme"}),
        (["acme-team", "t-bolt-x"], {"acme", "bolt"}, {"acme", "bolt"}),
        (["readers"], None, set()),
        (["acme-readers"], {"acme"}, set()),
        (["look-bolt"], {"bolt"}, set()),
        (["readers", "acme-team"], None, {"acme"}),
        (["readers", "admins"], None, None),
        (["acme-readers", "t-bolt-x"], {"acme", "bolt"}, {"bolt"}),
    ],
)
def test_roles(groups: list[str], sees: set[str] | None, changes: set[str] | None) -> None:
    found = staff(*groups)
    assert found is not None
    assert (found.sees, found.changes) == (sees, changes)
    assert found.name == "a@example.com"


@pytest.mark.parametrize(
    "groups",
    [
        *([], ["Admins"], ["admins "], ["t--x"], ["t-"], ["t-Acme-x"], ["t-../acme-x"], ["t-acme/b-x"], ["t-x"]),
        *(["look-"], [None], [7], [{"admins": True}], ["acme-team-"], ["t-acme-xx"], ["x t-acme-x"]),
    ],
)
def test_other_values_give_no_role(groups: list[object]) -> None:
    assert staff(*groups) is None


def test_the_claim_may_be_a_text_or_nested() -> None:
    assert staff_of_claims({"sub": "1", "role": "admins"}, "role", RULES) == Staff("1", "1", None, None)
    nested = {"sub": "1", "realm_access": {"roles": ["readers"]}, "name": "A\n\x1b[1mB"}
    found = staff_of_claims(nested, "realm_access.roles", RULES)
    assert found == Staff("1", "A[1mB", None, frozenset())
    assert staff_of_claims({"sub": "1", "https://a.example/g": ["admins"]}, "https://a.example/g", RULES) is not None
    assert staff_of_claims({"sub": "1", "realm_access": "admins"}, "realm_access.roles", RULES) is None


@pytest.mark.parametrize(
    ("verified", "gives"),
    [(True, True), ("true", True), (False, False), ("false", False), (None, False), ([True], False)],
)
def test_only_a_verified_address_gives_a_role(verified: object, gives: bool) -> None:
    claims = {"sub": "1", "email": "a@example.com", "email_verified": verified}
    found = staff_of_claims(claims, "email", [RoleRule("a@example.com", "fleet")])
    assert (found is not None) == gives
    assert is_unverified(claims, "email") != gives
    # Groups are given by whoever looks after the provider.
    assert staff_of_claims({**claims, "groups": "admins"}, "groups", RULES) is not None


def test_an_address_that_is_not_verified_names_nobody() -> None:
    claims = {"sub": "1", "email": "boss@example.com", "name": "Mallory", "groups": "admins"}
    names = [
        found.name
        for more in ({}, {"email_verified": True}, {"email_verified": False}, {"email_verified": "false"})
        if (found := staff_of_claims({**claims, **more}, "groups", RULES)) is not None
    ]
    assert names == ["boss@example.com", "boss@example.com", "Mallory", "Mallory"]


@pytest.mark.parametrize(
    ("value", "role", "tenant"),
    [("a", "tenant", ""), ("{tenant}", "fleet", ""), ("{tenant}", "tenant", "acme"), ("a", "tenant", "../x")],
)
def test_rules_that_make_no_sense(value: str, role: str, tenant: str) -> None:
    with pytest.raises(InputError):
        RoleRule(value, role, tenant)  # type: ignore[arg-type] - a role


COPIER = "/tenants/acme/devices/copier"


@pytest.mark.parametrize(
    ("groups", "method", "path", "refusal"),
    [
        ("admins", "POST", f"{COPIER}/slots/fax.pop", None),
        ("admins", "POST", "/anything", None),
        ("acme-team", "GET", "/", None),
        ("acme-team", "POST", f"{COPIER}/slots/fax.pop", None),
        ("acme-team", "GET", "/tenants/bolt/devices/copier/", "hidden"),
        ("acme-team", "POST", "/tenants/bolt/devices/copier/", "hidden"),
        ("acme-team", "GET", "/tenants//devices/copier/", "hidden"),
        ("acme-team", "GET", "/tenants/acme%2F../devices/copier/", "hidden"),
        ("acme-team", "POST", "/anything", "read_only"),
        ("acme-team", "POST", "/sign-out", None),
        ("readers", "GET", f"{COPIER}/", None),
        ("readers", "HEAD", f"{COPIER}/", None),
        *(("readers", method, f"{COPIER}/", "read_only") for method in ("POST", "PUT", "PATCH", "DELETE", "X")),
        ("readers", "POST", "/sign-out", None),
        ("readers", "POST", f"{COPIER}/sign-out", "read_only"),
        ("readers", "POST", "/preferences", None),
        ("acme-readers", "GET", "/tenants/bolt", "hidden"),
        ("acme-readers", "GET", "/tenants", None),
    ],
)
def test_what_is_refused(groups: str, method: str, path: str, refusal: str | None) -> None:
    found = staff(groups)
    assert found is not None
    assert found.refusal(method, path) == refusal

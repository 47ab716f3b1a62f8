"""Permissions: which role may change which setting.

Some settings make the device run a program, or read, write or send its files. Others decide who can sign in to the
panel, or who is notified of events. `mailslot.slots.keys.Key.set_by` names the role that a key requires, and all code
that accepts settings checks it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast, get_args

from mailslot.errors import InputError
from mailslot.slots import keys
from mailslot.slots.keys import Key, SetterRole

if TYPE_CHECKING:
    from collections.abc import Mapping

_ORDER: Final[tuple[SetterRole, ...]] = get_args(SetterRole)


class NotPermittedError(InputError):
    """A change needs a higher role.

    Attributes:
        needs: the role that may make it.
    """

    def __init__(self, target: str, key: str, needs: SetterRole, *, how: str = "") -> None:
        sentence = (
            "The device lets only somebody with a login on it set this"
            if needs == "local"
            else "The device lets no key to the API set this, only its administrator, in the panel"
        )
        if how:
            sentence = f"{sentence}, {how}" if needs == "local" else f"{sentence} or {how}"
        else:
            command = f"mailslot set {target} {key}=…"
            sentence = f"{sentence}: {command}" if needs == "local" else f"{sentence} or with {command}"
        super().__init__(
            sentence,
            stage="resolve",
            cause="not_permitted",
            key=key,
        )
        self.needs = needs


def least_role(key: Key) -> SetterRole:
    """Return the least role that may set a key to some value, though perhaps not to every value."""
    if callable(key.set_by):
        return "api_key"
    return key.set_by or ("local" if key.parse is keys.path else "api_key")


def required_role(key: Key, value: object, before: object) -> SetterRole:
    """Return the role that a change needs.

    Args:
        key: the key.
        value: the new value, from `Key.parse`; None to remove it.
        before: the current value; None if there is none.
    """
    if value == before or (key.default if value is None else value) == (key.default if before is None else before):
        return "api_key"
    if value is None:
        # Removing a value does no harm, unless it is a restriction that stands in the way of a stolen API key.
        return "administrator" if least_role(key) == "local" else least_role(key)
    if not callable(key.set_by):
        return least_role(key)
    current = {*_each(before), *_each(key.default)}
    ranks = [_ORDER.index(key.set_by(one)) for one in _each(value) if one not in current]
    return _ORDER[max(ranks, default=0)]


def exceeds_role(needs: SetterRole, role: SetterRole) -> bool:
    """Whether a change needs a higher role than a person has.

    Args:
        needs: the least role that may make the change.
        role: the role of the person.
    """
    return _ORDER.index(needs) > _ORDER.index(role)


def check_permission(
    known: Mapping[str, Key],
    values: Mapping[str, object | None],
    before: Mapping[str, Any],
    role: SetterRole,
    target: str,
    *,
    how: str = "",
) -> None:
    """Refuse changes that need a higher role.

    Args:
        known: all keys of the table.
        values: the new values as they were entered; None removes one.
        before: the current values, by key.
        role: the role of the person.
        target: the slot or section, to be named in the error's command.
        how: how it is set, if that is not by ``mailslot set``, such as ``"with mailslot device add"``.

    Raises:
        NotPermittedError: the role is not sufficient.
        InputError: there is no such key, or a value is not allowed.
    """
    for key, value in values.items():
        parsed = keys.parse_value(known, key, value)
        needs = required_role(known[key], parsed, before.get(key))
        if exceeds_role(needs, role):
            raise NotPermittedError(target, key, needs, how=how)


def _each(value: object) -> tuple[object, ...]:
    if value is None:
        return ()
    return cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)

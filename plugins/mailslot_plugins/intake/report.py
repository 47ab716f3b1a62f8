"""A report about a sent mail: of its delivery (RFC 3464) or its disposition by the recipient (RFC 8098)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

TRACE_FIELD: Final = "X-Mailslot-Gateway"
"""The field with which the gateway marks each message that it sends on; no two have the same value."""


@dataclass(frozen=True, slots=True)
class Report:
    """A report about a sent mail.

    Attributes:
        kind: a delivery or a disposition report.
        groups: its groups of fields, names in lower case. A delivery report may have one about the mail, then has one
            for each recipient; a disposition report has one.
        identifiers: the Message-IDs of the mails that it may be about, ``<…@…>``, most likely first.
        traces: the values of `TRACE_FIELD` in the mails that it returns.
    """

    kind: Literal["delivery", "disposition"]
    groups: tuple[Mapping[str, str], ...]
    identifiers: tuple[str, ...] = ()
    traces: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the report from JSON values."""
        return cls(
            stored["kind"], tuple(stored["groups"]), tuple(stored["identifiers"]), tuple(stored.get("traces", ()))
        )

"""What a report says of a mail that was sent: of its delivery (RFC 3464), or of what the recipient did (RFC 8098)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says.

    Attributes:
        kind: of delivery, or of disposition.
        groups: its groups of fields, names in lower case: of delivery perhaps one about the mail and then one for
            each recipient; of disposition only one.
        identifiers: those of the mails that it may be about, ``<…@…>``, the likeliest first.
    """

    kind: Literal["delivery", "disposition"]
    groups: tuple[Mapping[str, str], ...]
    identifiers: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """Return it again."""
        return cls(said["kind"], tuple(said["groups"]), tuple(said["identifiers"]))

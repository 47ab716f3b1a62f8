"""Reports about mails that were sent: of delivery (RFC 3464), and of what the recipient did with it (RFC 8098)."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from email.parser import HeaderParser
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from email.message import Message

_MAX_GROUPS: Final = 100
_MAX_FIELDS: Final = 50
_MAX_VALUE: Final = 4000
_MAX_RETURNED: Final = 100_000
_IDENTIFIER: Final = re.compile(r"<[!-;=?-~]{1,250}>")
_KINDS: Final[Mapping[str, Literal["delivery", "disposition"]]] = {
    "message/delivery-status": "delivery",
    "message/global-delivery-status": "delivery",
    "message/disposition-notification": "disposition",
    "message/global-disposition-notification": "disposition",
}
_RETURNED: Final = frozenset({"message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"})


@dataclass(frozen=True, slots=True)
class Report:
    """What a report says.

    Attributes:
        kind: of delivery, or of disposition.
        groups: its groups of fields, names in lower case: of delivery first the one about the mail and then one for
            each recipient; of disposition only one.
        returned: the identifier of the mail that it brings back, ``<…@…>``; empty where it brings none.
    """

    kind: Literal["delivery", "disposition"]
    groups: tuple[Mapping[str, str], ...]
    returned: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """Return it again."""
        return cls(said["kind"], tuple(said["groups"]), said["returned"])


def report_of(message: Message) -> Report | None:
    """Return what a mail reports; None where it is no report that is understood."""
    if message.get_content_type() != "multipart/report" or not message.is_multipart():
        return None
    parts = cast("list[Message]", message.get_payload())[:10]
    for part in parts:
        kind = _KINDS.get(part.get_content_type())
        if kind is not None:
            groups = tuple(_fields(group) for group in _groups(part) if group.keys())
            return Report(kind, groups[:_MAX_GROUPS], next(_returned(parts), "")) if groups else None
    return None


def _groups(part: Message) -> list[Message]:
    if part.is_multipart():
        # The parser takes it for messages within the message, and groups of fields look the same.
        return cast("list[Message]", part.get_payload())[:_MAX_GROUPS]
    text = part.get_payload(decode=True)
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else ""
    return [HeaderParser().parsestr(group) for group in re.split(r"\r?\n\r?\n", said[:_MAX_RETURNED])[:_MAX_GROUPS]]


def _fields(group: Message) -> dict[str, str]:
    # The first one of a name counts.
    found = [(name.lower(), " ".join(str(value)[:_MAX_VALUE].split())) for name, value in group.items()[:_MAX_FIELDS]]
    return dict(reversed(found))


def _returned(parts: list[Message]) -> Iterator[str]:
    for part in parts:
        if part.get_content_type() not in _RETURNED:
            continue
        if part.is_multipart():
            header = cast("list[Message]", part.get_payload())[0]
        else:
            text = part.get_payload(decode=True)
            header = HeaderParser().parsestr(
                (text if isinstance(text, bytes) else b"")[:_MAX_RETURNED].decode("latin-1")
            )
        yield from _IDENTIFIER.findall(str(header.get("Message-ID", "")))[:1]

"""Mailboxes in a header: an address with a display name."""

from __future__ import annotations

from dataclasses import dataclass, field

from mailslot.message.header_text import check_header_text
from mailslot.smtp.address import parse_address


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with a display name (RFC 5322 section 3.4).

    Attributes:
        address: ``local@domain``, the domain in Unicode or as A-labels.
        name: the display name, in Unicode; may be empty.
        wire: the address as it is written in the header, with its domain as A-labels.

    Raises:
        InputError: the address or the name is invalid.
    """

    address: str
    name: str
    wire: str = field(repr=False, compare=False)

    def __init__(self, address: str, name: str = "", *, role: str = "mailbox") -> None:
        """Validate both.

        Args:
            address: the address.
            name: the display name.
            role: how errors name this mailbox, such as ``"sender"``.
        """
        object.__setattr__(self, "address", address)
        object.__setattr__(self, "wire", parse_address(address, role).wire)
        object.__setattr__(self, "name", check_header_text(name, f"{role} name"))

    @property
    def domain(self) -> str:
        """The domain as A-labels, or the address literal."""
        return self.wire.rpartition("@")[2]

    @property
    def smtputf8(self) -> bool:
        """Whether its local part is not ASCII, so that it needs SMTPUTF8 (RFC 6531 section 3.2)."""
        return not self.wire.isascii()


def to_mailbox(value: str | Mailbox, role: str) -> Mailbox:
    """Return a mailbox unchanged, or one for a bare address; raises as `Mailbox` does."""
    return value if isinstance(value, Mailbox) else Mailbox(value, role=role)

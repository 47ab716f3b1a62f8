"""The rules for sending, which apply to everything that is sent.

A rule is a pattern as in the entry of a device: an address, ``*@domain`` or ``*``; in addition, ``@name`` is an entry
or group of the address book. Rules that deny take precedence over rules that allow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from mailslot.errors import InputError
from mailslot.slots.gateway.fax_numbers import fax_number
from mailslot.slots.gateway.patterns import ANY, domain_of, matches
from mailslot.smtp.address import parse_address
from mailslot_plugins.addressbook.book import AddressBook, load_book, normalized
from mailslot_plugins.addressbook.lookup import with_names
from mailslot_plugins.rules.delay import end_of_delay
from mailslot_plugins.rules.section import SECTION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from mailslot.plugin import Device

_SHOWN: Final = 5
_EMPTY: Final = AddressBook({})


@dataclass(frozen=True, slots=True)
class SendingRules:
    """A snapshot of the rules in ``[rules]``; made by `load_rules`.

    Attributes:
        allow, deny: patterns, and names of the address book.
        destinations: ``"any"``, ``"book"`` or ``"self"``.
        sender: ``"account"`` or ``"user"``.
        archive: the addresses that get a blind copy.
        delay: the result of `mailslot_plugins.rules.delay.parse_delay`; None to send at once.
        book: the address book; empty if no rule needs it.
        in_directory: the recipients that are in the directory behind the address book, normalized.
    """

    allow: Sequence[str] = (ANY,)
    deny: Sequence[str] = ()
    destinations: str = "any"
    sender: str = "account"
    archive: Sequence[str] = ()
    delay: str | None = None
    book: AddressBook = _EMPTY
    in_directory: AbstractSet[str] = frozenset()

    def refusal(self, address: str, user: str = "") -> str:
        """Return why nothing may be sent to an address, in one sentence; empty if sending is allowed.

        Args:
            address: the recipient.
            user: the address of the person who sends; empty if it is not known.
        """
        if rule := next((rule for rule in self.deny if self._denies(rule, address)), ""):
            return f"{address} is refused by the rule deny={rule} of this device."
        if self.destinations == "self" and not (user and normalized(user) == normalized(address)):
            whose = f"to {user}, who sends it" if user else "to the person who sends it, and nobody says who that is"
            return f"{address} is refused by the rule destinations=self of this device: it is sent only {whose}."
        if self.destinations == "book" and not self._is_known(address):
            return f"{address} is refused by the rule destinations=book of this device: it is not in the address book."
        if not any(self._matches(rule, address) for rule in self.allow):
            return f"{address} is refused by the rule allow={','.join(self.allow)} of this device."[:500]
        return ""

    def check(self, addresses: Iterable[str], user: str = "") -> None:
        """Check that sending to these addresses is allowed.

        Raises:
            InputError: it is not allowed for some; the sentence names the rules.
        """
        refusals = [found for address in addresses if (found := self.refusal(address, user))]
        if refusals:
            more = f" And {len(refusals) - _SHOWN} more are refused." if len(refusals) > _SHOWN else ""
            raise InputError(
                f"{' '.join(refusals[:_SHOWN])}{more} Nothing was sent.", stage="envelope", cause="recipient_refused"
            )

    def copies(self, recipients: Iterable[str]) -> tuple[str, ...]:
        """Return the addresses that get a blind copy of a mail to these recipients."""
        present = {address.casefold() for address in recipients}
        return tuple(address for address in self.archive if address.casefold() not in present)

    def send_at(self, now: float, delay: str | None = None) -> float | None:
        """Return when a mail is due, in seconds since 1970; None for now.

        Args:
            now: the time.
            delay: a delay requested by the person who sends, which replaces that of the rules; None without one.
        """
        wanted = delay or self.delay
        return None if wanted is None else end_of_delay(wanted, now)

    def _is_known(self, address: str) -> bool:
        return bool(self.book.names_of(address)) or normalized(address) in self.in_directory

    def _matches(self, rule: str, address: str) -> bool:
        if rule.startswith("@"):
            return rule.removeprefix("@") in self.book.names_of(address)
        return matches([rule], address)

    def _denies(self, rule: str, address: str) -> bool:
        # An unusual address that a domain's rule does not allow is nevertheless denied by one.
        is_of_domain = rule.startswith("*@") and domain_of(address) == rule.removeprefix("*@")
        if rule == ANY or is_of_domain:
            return True
        if rule.startswith("@"):
            return rule.removeprefix("@") in self.book.names_of(address, denied=True)
        if rule.startswith("+") and "@" not in rule:
            return _is_sent_to(address, rule)
        return matches([rule], address, denied=True)


def _is_sent_to(address: str, rule: str) -> bool:
    """Whether an address has the fax number of a rule, at any gateway; many gateways take it without the +."""
    try:
        local = parse_address(address, "recipient").canonical.rpartition("@")[0]
    except InputError:
        return False
    number = fax_number(local, bare=True)
    return number is not None and number.digits == rule.removeprefix("+")


async def load_rules(device: Device, recipients: Iterable[str] = ()) -> SendingRules:
    """Return the current rules; the address book is read only if a rule needs it.

    Args:
        device: the device.
        recipients: the addresses that will be checked.

    Raises:
        DirectoryError: a rule depends on the directory behind the address book, which could not be asked.
        MailError: the settings or the spool cannot be read.
    """
    values = device.settings(SECTION)
    if not needs_book(values):
        return SendingRules(**values)
    return await with_recipients(device, SendingRules(**values, book=await load_book(device)), recipients)


async def with_recipients(device: Device, rules: SendingRules, recipients: Iterable[str]) -> SendingRules:
    """Return rules with what the directory behind the address book knows of recipients.

    Args:
        device: the device.
        rules: its rules.
        recipients: the addresses that will be checked.

    Raises:
        DirectoryError: the rules depend on the directory, which could not be asked.
    """
    names = [rule for rule in (*rules.allow, *rules.deny) if rule.startswith("@")]
    if not names and rules.destinations != "book":
        return rules
    book = await with_names(device, rules.book, names) if names else rules.book
    known = set(rules.in_directory)
    if rules.destinations == "book":
        from mailslot_plugins.addressbook.directory.directory import directory_of  # noqa: PLC0415 - most devices have none

        directory = directory_of(device)
        unknown = [address for address in recipients if not book.names_of(address)]
        known |= {normalized(address) for address in unknown if await directory.has_address(address)}
    return replace(rules, book=book, in_directory=frozenset(known))


def needs_book(values: Mapping[str, Any]) -> bool:
    """Whether the values of ``[rules]`` have a rule that depends on the address book."""
    return values["destinations"] == "book" or any(rule.startswith("@") for rule in (*values["allow"], *values["deny"]))

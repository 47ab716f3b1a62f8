"""A directory's server and the meaning of its attributes, from the settings in ``[addressbook]``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mailslot.net.endpoint import Endpoint, Security
from mailslot_plugins.addressbook.directory.directory_error import DirectoryError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# The ports that IANA has assigned to ldaps and ldap.
_PORTS: Final = {Security.TLS: 636, Security.STARTTLS: 389}


@dataclass(frozen=True, slots=True)
class Schema:
    """The attributes of a kind of directory.

    Attributes:
        name: the attribute with the sign-in name.
        display_name: the attribute with the display name.
        mail: the attribute with mail addresses.
        fax: the attribute with fax numbers.
        filter: selects the entries that are people or groups (RFC 4515).
    """

    name: str
    display_name: str
    mail: str
    fax: str
    filter: str


SCHEMAS: Final[Mapping[str, Schema]] = {
    # RFC 2798, RFC 4519.
    "openldap": Schema("uid", "cn", "mail", "facsimileTelephoneNumber", "(objectClass=inetOrgPerson)"),
    # Microsoft's schema. Persons whose account is disabled are left out: bit 2 of userAccountControl, tested by the
    # matching rule LDAP_MATCHING_RULE_BIT_AND.
    "active_directory": Schema(
        "sAMAccountName",
        "displayName",
        "mail",
        "facsimileTelephoneNumber",
        "(|(&(objectCategory=person)(objectClass=user)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))"
        "(objectCategory=group))",
    ),
}
"""The kinds of directories, by their name in the settings."""


@dataclass(frozen=True, slots=True)
class Source:
    """A directory; made by `source_of`.

    Attributes:
        endpoint: its server.
        base: the distinguished name below which to search (RFC 4514).
        user: the name to bind with; empty for an anonymous search.
        schema: its attributes and filter.
        fax_gateway: the domain that makes a fax number an address; empty if fax numbers are not used.
        max_results: the maximum number of entries of a search.
        timeout: seconds that a search may take.
        keep_for: seconds for which results are cached.
        ca_file: a file of further trusted certificate authorities, or None.
    """

    endpoint: Endpoint
    base: str
    user: str
    schema: Schema
    fax_gateway: str
    max_results: int
    timeout: float
    keep_for: float
    ca_file: Path | None

    @property
    def destination(self) -> str:
        """Where the password is sent; one that was stored for another destination is not sent."""
        return f"{self.user} {self.endpoint}"


def source_of(settings: Mapping[str, Any]) -> Source | None:
    """Return the directory from the settings; None if no server is set.

    Raises:
        DirectoryError: a server is set, but no base.
    """
    if settings["ldap_server"] is None:
        return None
    if settings["ldap_base"] is None:
        raise DirectoryError(
            "The part of the directory that contains the addresses is not set. mailslot set addressbook ldap_base=DN",
            stage="resolve",
            cause="not_configured",
        )
    security: Security = settings["ldap_security"]
    preset = SCHEMAS[settings["ldap_type"]]
    return Source(
        endpoint=Endpoint(settings["ldap_server"], settings["ldap_port"] or _PORTS[security], security),
        base=settings["ldap_base"],
        user=settings["ldap_user"] or "",
        schema=Schema(
            settings["ldap_name"] or preset.name,
            settings["ldap_display_name"] or preset.display_name,
            settings["ldap_mail"] or preset.mail,
            settings["ldap_fax"] or preset.fax,
            settings["ldap_filter"] or preset.filter,
        ),
        fax_gateway=settings["ldap_fax_gateway"] or "",
        max_results=settings["ldap_max_results"],
        timeout=settings["ldap_timeout"],
        keep_for=settings["ldap_keep_minutes"] * 60,
        ca_file=settings["ldap_ca_file"],
    )

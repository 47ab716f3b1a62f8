"""The settings of the address book, ``[addressbook]``: a directory (LDAP) as a further source."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Final

from mailslot.net.endpoint import Security
from mailslot.plugin import Key, Section, keys

_ATTRIBUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


def _attribute(value: object) -> str:
    """Parse the name of an attribute (RFC 4512 section 2.5)."""
    text = keys.text(value)
    if not _ATTRIBUTE.fullmatch(text):
        raise ValueError
    return text


def _filter(value: object) -> str:
    """Parse a filter (RFC 4515); it is checked where the package that speaks LDAP is installed."""
    text = keys.text(value)
    if find_spec("sansldap") is not None:
        from mailslot_plugins.addressbook.directory.query import parse_filter  # noqa: PLC0415 - it needs an extra

        parse_filter(text)
    return text


SECTION: Final = Section(
    "addressbook",
    {
        "ldap_server": Key("a host name or an IP address", keys.host, set_by="administrator"),
        "ldap_security": Key(
            "tls or starttls",
            keys.one_of("tls", "starttls", convert=Security),
            default=Security.TLS,
            set_by="administrator",
        ),
        "ldap_type": Key(
            "active_directory, or openldap for any other",
            keys.one_of("active_directory", "openldap"),
            default="openldap",
            set_by="administrator",
        ),
        "ldap_base": Key("a distinguished name such as ou=people,dc=example,dc=com", keys.text, set_by="administrator"),
        "ldap_user": Key(
            "a name as the directory has it, such as cn=copier,dc=example,dc=com or copier@example.com",
            keys.text,
            set_by="administrator",
        ),
        "ldap_ca_file": Key("the path of a file with certificates in PEM", keys.path),
        "ldap_port": Key("a number from 1 to 65535", keys.number(1, 65535), set_by="administrator", advanced=True),
        "ldap_filter": Key(
            "a filter such as (objectClass=inetOrgPerson)", _filter, set_by="administrator", advanced=True
        ),
        "ldap_name": Key("the name of an attribute", _attribute, set_by="administrator", advanced=True),
        "ldap_display_name": Key("the name of an attribute", _attribute, set_by="administrator", advanced=True),
        "ldap_mail": Key("the name of an attribute", _attribute, set_by="administrator", advanced=True),
        "ldap_fax": Key("the name of an attribute", _attribute, set_by="administrator", advanced=True),
        "ldap_fax_gateway": Key(
            "a domain: fax numbers become addresses there, such as FAX=+12027653000@fax.example",
            keys.host,
            set_by="administrator",
            advanced=True,
        ),
        "ldap_max_results": Key(
            "a number from 1 to 500", keys.number(1, 500), default=50, set_by="administrator", advanced=True
        ),
        "ldap_timeout": Key(
            "a number from 1 to 60", keys.number(1, 60), default=10, set_by="administrator", advanced=True
        ),
        "ldap_keep_minutes": Key(
            "a number from 0 to 1440",
            keys.number(0, 1440),
            default=15,
            set_by="administrator",
            advanced=True,
        ),
    },
)
"""The table ``[addressbook]``."""

"""The columns of address books in CSV: ours, and those of makers' devices.

Canon's are described in its manuals ("Address Book Items"), Ricoh's in its user guides ("Importing/Exporting the
Address Book"); those of Sharp, Xerox and Konica Minolta (Develop) are known from files that their devices export.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Field = Literal["name", "display_name", "address", "fax_address", "groups", "first_name", "last_name", "kind"]

COLUMNS: Final[Mapping[Field, Sequence[str]]] = {
    "name": ("one-touch name", "short name", "shortcut", "kurzname", "nom court", "nombre corto", "短縮名"),
    "display_name": ("display name", "full name", "cn", "anzeigename", "nom complet", "nombre completo", "表示名"),
    "address": (
        "addresses",
        "e-mail address",
        "email",
        "mail",
        "mail address",
        "e-mail-adresse",
        "adresse e-mail",
        "correo",
        "メールアドレス",
        "address",  # last: in Sharp's files, this column only says that the row is an address
    ),
    "fax_address": ("fax addresses", "fax address", "internet fax address", "ifax address", "faxadresse"),
    "groups": ("groups", "group", "group name", "gruppen", "gruppe", "groupes", "groupe", "grupos", "グループ"),
    "first_name": ("first name", "given name", "vorname", "prénom", "名"),
    "last_name": ("last name", "surname", "nachname", "nom de famille", "apellidos", "姓"),
    "kind": ("objectclass",),
}
"""The names of the columns of each field; if a header has several of them, the first one counts."""

OWN: Final = ("name", "display_name", "addresses", "fax_addresses", "groups")
"""The columns that `mailslot addressbook export` writes."""

_RICOH: Final = "indexinaclsandgroups"


def find_columns(header: Sequence[str]) -> dict[Field, int]:
    """Return the position of each field in a header; fields without a column are left out."""
    keys = [_key(cell) for cell in header]
    found: dict[Field, int] = {}
    for field, names in COLUMNS.items():
        position = next((keys.index(_key(name)) for name in names if _key(name) in keys), None)
        if position is not None:
            found[field] = position
    if _RICOH in keys:
        found.pop("groups", None)  # they are numbers there
    if "name" in keys:
        # In our own files it is the one-touch name; makers mean the name for people.
        is_own = "display_name" in found and _key("addresses") in keys
        found.setdefault("name" if is_own else "display_name", keys.index("name"))
    return found


def _key(text: str) -> str:
    return re.sub(r"[\s_.()-]+", "", text.strip().strip("[]").casefold())

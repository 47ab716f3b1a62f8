"""``resources.toml``: the services that tokens are for, by their ids and addresses, and their names for people."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, cast

from mailslot.causes.columns import check_columns, text, texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# `spn:ID`, `api://ID`, and `ID/host@tenant` of older token services all stand for the id.
_BY_ID: Final = re.compile(rf"(?:spn:|api://)?({_ID})(?:[/@].*)?")
_AUDIENCE: Final = re.compile(rf"https://[a-z0-9.*-]+(?::443)?(?:/[a-z0-9._/-]*)?|(?<![0-9a-f-]){_ID}(?![0-9a-f-])")


@dataclass(frozen=True, slots=True)
class Resource:
    """A service that tokens are for.

    Attributes:
        id: its name in tables.
        name: its name for people.
        audiences: its ids and addresses, normalized.
        source: the source of these facts.
        mail: whether its tokens are for mail servers.
    """

    id: str
    name: str
    audiences: tuple[str, ...]
    source: str
    mail: bool = False

    def is_named_by(self, audience: str) -> bool:
        """Whether an audience, such as the ``aud`` of a token, means this resource."""
        wanted = _normalized(audience)
        return any(wanted == known or _fits_wildcard(wanted, known) for known in self.audiences)


@cache
def resources() -> Mapping[str, Resource]:
    """Return the known resources, by id; the file is read once, when it is first needed."""
    return parse_resources(files("mailslot.oauth").joinpath("resources.toml").read_text("utf-8"))


def parse_resources(content: str) -> Mapping[str, Resource]:
    """Return the resources in a file's text.

    Raises:
        ValueError: a column is unknown or missing, a value has the wrong type, or an audience means two resources that
            are not both for mail.
    """
    found: dict[str, Resource] = {}
    for name, row in cast("dict[str, dict[str, Any]]", tomllib.loads(content)).items():
        check_columns(row, {"name", "mail", "audiences", "source"})
        try:
            audiences = tuple(map(_normalized, texts(row["audiences"])))
            resource = Resource(name, text(row["name"]), audiences, text(row["source"]), row.get("mail", False) is True)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{name}: {error}") from error
        for other in found.values():
            if set(other.audiences) & set(audiences) and not (other.mail and resource.mail):
                raise ValueError(f"{name} and {other.id} have the same audience")
        found[name] = resource
    return found


def find_resource(audience: str) -> Resource | None:
    """Return the resource that an audience means; None if unknown."""
    return next((resource for resource in resources().values() if resource.is_named_by(audience)), None)


def name_resource(audience: str) -> str:
    """Return the name of the resource of an audience, for people; the audience itself if it is unknown."""
    found = find_resource(audience)
    return audience if found is None else found.name


def find_foreign_resource(server_text: str) -> Resource | None:
    """Return the first resource in a server's text that is not a mail service; None if there is none."""
    named = (find_resource(audience) for audience in _audiences(server_text))
    return next((found for found in named if found is not None and not found.mail), None)


def _audiences(server_text: str) -> Iterator[str]:
    """Yield the possible audiences in a text; for an address, such as a scope, also its shorter prefixes."""
    for match in _AUDIENCE.finditer(server_text.casefold()):
        segments = match[0].rstrip(".").split("/")
        for end in range(len(segments), min(len(segments), 3) - 1, -1):
            yield "/".join(segments[:end])


def _normalized(audience: str) -> str:
    plain = audience.strip().casefold().rstrip("/").removesuffix(":443")
    match = _BY_ID.fullmatch(plain)
    return match[1] if match else plain


def _fits_wildcard(audience: str, known: str) -> bool:
    scheme, star, domain = known.partition("*")
    host = audience.removeprefix(scheme).partition("/")[0]
    return bool(star) and audience.startswith(scheme) and host.endswith(domain)

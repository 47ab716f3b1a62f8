"""Tables of other versions: each command says in one sentence what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from command_line import mailslot
from lab.postgres import Fleet
from mailslot.errors import InputError
from mailslot.fleet.postgres import schema
from mailslot.fleet.postgres.migrations import MIGRATIONS

if TYPE_CHECKING:
    from pathlib import Path

    from lab.postgres import Postgres

NEWEST = max(MIGRATIONS)
NONE = "The database has no fleet yet: run mailslot fleet init."
OLDER = "The fleet's tables are of an older version: run mailslot fleet init."
NEWER = "The fleet's tables were made by a newer version of mailslot: update mailslot."
UNRELEASED = (
    "The fleet's tables were made by a checkout from before the first release: copy each device into a folder by "
    "mailslot fleet export of that checkout, and import the folders into a new database."
)
COMMANDS = (
    ("fleet", "list"),
    ("fleet", "status"),
    ("fleet", "metrics"),
    ("fleet", "keys"),
    ("fleet", "add", "acme/other"),
    ("fleet", "export", "acme/copier-1", "somewhere"),
    ("fleet", "worker"),
    ("fleet", "link", "acme/copier-1"),
    ("fleet", "application", "acme"),
    ("fleet", "sign-in", "--address", "https://fleet.example.com"),
    ("fleet", "panel", "--listen", "0", "--settings", "{panel}"),
    ("slots",),
    ("serve",),
)
PANEL_SETTINGS = """\
address = "https://fleet.example.com"

[openid]
issuer = "https://login.example.com"
client_id = "fleet"

[[roles]]
value = "admins"
role = "fleet"
"""


class Versions:
    """A fleet whose tables are said to be of any version."""

    def __init__(self, postgres: Postgres, folder: Path) -> None:
        fleet = Fleet(postgres.create_database(), folder)
        fleet.add_device()
        self.database, self.registry = fleet.database, fleet.registry
        self.panel_settings = folder / "panel.toml"
        self.panel_settings.write_text(PANEL_SETTINGS)
        self.environment = {
            "MAILSLOT_DATABASE": fleet.url,
            "MAILSLOT_HOME": f"{fleet.url}?device=acme/copier-1",
            "MAILSLOT_MASTER_KEY": str(folder / "master.key"),
            "XDG_DATA_HOME": str(folder / "data"),
        }

    def set(self, version: int) -> None:
        with self.database.connection() as connection, connection.transaction():
            connection.execute("UPDATE mailslot.schema_version SET version = %s", (version,))

    def said(self, *arguments: str) -> tuple[int, str]:
        ran = mailslot(*(each.format(panel=self.panel_settings) for each in arguments), **self.environment)
        # A service has logged where it listens before.
        return ran.returncode, ran.stderr.strip().rpartition("\n")[2]


@pytest.fixture
def versions(postgres: Postgres, tmp_path: Path) -> Versions:
    return Versions(postgres, tmp_path)


@pytest.mark.parametrize(
    ("version", "sentence"),
    [(0, NONE), (1, UNRELEASED), (min(MIGRATIONS) - 1, UNRELEASED), (NEWEST + 1, NEWER)],
    ids=["none", "first", "last before the release", "newer"],
)
def test_all_commands_say_what_to_do(versions: Versions, version: int, sentence: str) -> None:
    versions.set(version)
    for command in COMMANDS:
        assert versions.said(*command) == (2, sentence), command
    if version:
        assert versions.said("fleet", "init") == (2, sentence)
        versions.set(NEWEST)
        assert versions.said("fleet", "status")[0] == 0


def test_init_brings_older_tables_up_to_date(versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
    step = ("CREATE TABLE colours (tenant bigint NOT NULL, colour text NOT NULL)",)
    monkeypatch.setattr(schema, "MIGRATIONS", {**MIGRATIONS, NEWEST + 1: step})
    with pytest.raises(InputError, match=f"^{OLDER}$"):
        versions.registry.names()
    assert versions.registry.init() == 1
    assert versions.registry.names() == [("acme", "copier-1")]
    assert versions.registry.init() == 0

"""Home folders are moved into a fleet and copied back: nothing is lost, and nothing is used at two places."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from command_line import mailslot
from mailslot.errors import InputError
from mailslot.fleet.postgres import transfer as postgres_transfer
from mailslot.fleet.postgres.rows import DeviceRows
from mailslot.fleet.transfer import export_device, import_folder
from mailslot.home.folder import FolderHome
from mailslot.oauth.grant import Grant
from mailslot.slots.records import Records
from mailslot.spool.folder import transfer as folder_transfer
from mailslot.spool.folder.storage import FolderStorage
from mailslot.spool.job import NewJob, RecipientRefusal
from mailslot.spool.spool import Spool
from mailslot.vault.errors import VaultError
from mailslot.vault.vault import Vault
from mailslot.wire.secret import Secret
from spool.conftest import message, octets

if TYPE_CHECKING:
    from pathlib import Path

    from lab.postgres import Fleet

MAIL = b"Subject: a fax\r\n\r\n" + b"x" * 600_000
SETTINGS = {"server": "mail.example.com", "authentication": "oauth2", "account": "scanner@example.com"}


async def make_device(folder: Path) -> None:
    """A device that has been used: settings, secrets, jobs in most states, mails in all."""
    records = Records(folder)
    records.change("smtp", SETTINGS, {"client_secret": Secret("hush")})
    store = records.tokens.store("smtp")
    grant = Grant("browser", Secret("access"), None, Secret("refresh"), ("mail.send",), 1.0, 2.0)
    await store.save(grant)
    assert await store.move_here()
    (folder / "panel").mkdir()
    (folder / "panel" / "password").write_text("$argon2id$…")
    async with Spool(folder) as spool, spool.delivery_lock():
        await spool.recover()
        for number in range(5):
            new = NewJob("scan", "smtp", "a@example.com", ["b@example.com"], key=f"key {number}", notes={"device": "x"})
            await spool.accept(new, message(b"Subject: %d\r\n\r\n" % number + b"y" * 300_000 * number + b"\r\n"))
        await spool.claim("smtp")
        await spool.hand_over(1)
        await spool.record_replies(1, accepted=["b@example.com"])
        await spool.claim("smtp")
        await spool.record_replies(2, refused={"b@example.com": RecipientRefusal("550 no", "recipient_refused")})
        await spool.claim("smtp")
        await spool.hand_over(3)
        await spool.abandon(3)
        await spool.suspend("smtp", "token_not_retrieved", "Get a token.")
        ledger = spool.ledger
        await ledger.record_first_poll("fax-pop", ["old"])
        for uid in ("u1", "u2"):
            async with ledger.receive("fax-pop", uid) as file:
                await file.write(MAIL + uid.encode())
        await ledger.mark_done(1, "printed")
        await spool.store("alerts").put("paper", {"since": 3.5})


def spool_rows(folder: Path) -> dict[str, list[dict[str, Any]]]:
    storage = FolderStorage(folder / "spool", time.time)
    with closing(storage):
        storage.open()
        return storage.read_blocking(lambda each: folder_transfer.dump_rows(each.connection))


def normalized(tables: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    flags = {"eight_bit", "smtputf8", "delivering", "passed_over", "deleted"}
    return {
        table: sorted(
            json.dumps({name: bool(value) if name in flags else value for name, value in row.items()}, sort_keys=True)
            for row in rows
            if row.get("store") != "(spool)"
        )
        for table, rows in tables.items()
    }


@pytest.mark.parametrize(
    ("place", "target"), [("notes", "secret"), ("spool", "other"), ("panel/password", "secret"), ("vault", "other")]
)
async def test_links_out_of_a_folder_are_not_followed(fleet: Fleet, tmp_path: Path, place: str, target: str) -> None:
    """The folder may come from somebody else, who wants to read what is on the machine of the fleet."""
    folder = tmp_path / "copier"
    await make_device(folder)
    (tmp_path / "secret").write_text("root:hush")
    (tmp_path / "other").mkdir()
    if (folder / place).exists():
        (folder / place).rename(tmp_path / "aside")
    (folder / place).symlink_to(tmp_path / target)
    home = fleet.add_device()
    with pytest.raises(InputError, match="leads out of"):
        import_folder(FolderHome(folder), home, fleet.database)
    with fleet.database.device_transaction(home.device, "read") as connection:
        assert not postgres_transfer.documents(DeviceRows(connection, home.device))
    # A link within it is followed.
    (folder / place).unlink()
    if (tmp_path / "aside").exists():
        (tmp_path / "aside").rename(folder / f"{place} itself")
        (folder / place).symlink_to(folder / f"{place} itself")
    import_folder(FolderHome(folder), home, fleet.database)
    assert Records(home).settings.load()["smtp"].server == "mail.example.com"


@pytest.mark.parametrize("absolute", [True, False])
async def test_files_out_of_a_folder_are_not_read_as_mail(fleet: Fleet, tmp_path: Path, *, absolute: bool) -> None:
    folder, secret = tmp_path / "copier", tmp_path / "secret"
    await make_device(folder)
    secret.write_text("root:hush")
    name = str(secret) if absolute else "../../secret"
    with closing(sqlite3.connect(folder / "spool" / "spool.db")) as connection:
        connection.execute("UPDATE mails SET file = ?, size = 9 WHERE id = 2", (name,))
        connection.commit()
    home = fleet.add_device()
    with pytest.raises(InputError, match="leads out of"):
        import_folder(FolderHome(folder), home, fleet.database)
    with fleet.database.device_transaction(home.device, "read") as connection:
        assert not postgres_transfer.documents(DeviceRows(connection, home.device))


async def test_nothing_is_lost_by_import_and_export(fleet: Fleet, tmp_path: Path) -> None:
    folder, back = tmp_path / "copier", tmp_path / "back"
    await make_device(folder)
    before = normalized(spool_rows(folder))
    assert all(before[table] for table in ("jobs", "keys", "mails", "uids", "maildrops", "memory"))
    home = fleet.add_device()
    import_folder(FolderHome(folder), home, fleet.database)

    with fleet.database.device_transaction(home.device, "read") as connection:
        assert normalized(postgres_transfer.dump_rows(DeviceRows(connection, home.device))) == before
    records = Records(home)
    assert records.settings.load()["smtp"].server == "mail.example.com"
    assert records.vault.read("smtp", "client_secret") == Secret("hush")
    grant = await records.tokens.store("smtp").load()
    assert grant is not None
    assert grant.refresh_token == Secret("refresh")
    assert grant.location == home.locate("smtp")
    assert (home.documents.read("panel/password", 1000) or b"").startswith(b"$argon2id$")
    async with Spool(home) as spool, spool.delivery_lock():
        assert not (await spool.recover()).copied
        assert await octets(spool.content(await spool.job(5))) == b"Subject: 4\r\n\r\n" + b"y" * 1_200_000 + b"\r\n"
        mail = await spool.ledger.mail(2)
        async with spool.ledger.local_file(mail) as path:
            assert path is not None
            assert path.read_bytes() == MAIL + b"u2"
        new = NewJob("scan", "smtp", "a@example.com", ["b@example.com"])
        assert (await spool.accept(new, message())).id == 6
        await spool.cancel(6)

    export_device(fleet.home(home.device.tenant_name, home.device.name), back, fleet.database)
    after = normalized(spool_rows(back))
    added = [row for row in after["jobs"] if json.loads(row)["id"] == 6]
    assert len(added) == 1
    after["jobs"].remove(added[0])
    assert after == before
    exported = Records(back)
    assert exported.settings.load() == records.settings.load()
    assert exported.vault.read("smtp", "client_secret") == Secret("hush")
    copied = await exported.tokens.store("smtp").load()
    assert copied is not None
    assert copied.refresh_token == Secret("refresh")
    assert exported.tokens.store("smtp").locate().is_copy_of(copied.location or home.locate("smtp"))
    async with Spool(back) as spool, spool.delivery_lock():
        assert await octets(spool.content(await spool.job(5))) == b"Subject: 4\r\n\r\n" + b"y" * 1_200_000 + b"\r\n"
        recovery = await spool.recover()
        assert recovery.copied
        assert not recovery.failed + recovery.lost_mails
        new = NewJob("scan", "smtp", "a@example.com", ["b@example.com"])
        assert (await spool.accept(new, message())).id == 7


async def test_an_imported_folder_is_the_copy(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "copier"
    await make_device(folder)
    import_folder(FolderHome(folder), fleet.add_device(), fleet.database)
    store = Records(folder).tokens.store("smtp")
    grant = await store.load()
    assert grant is not None
    assert grant.location is not None
    assert store.locate().is_copy_of(grant.location)
    async with Spool(folder) as spool, spool.delivery_lock():
        assert (await spool.recover()).copied


async def test_a_copy_is_not_imported(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "copier"
    await make_device(folder)
    home = fleet.add_device()
    import_folder(FolderHome(folder), home, fleet.database)
    with pytest.raises(InputError, match=r"used elsewhere \(smtp, the queue\).*token moved"):
        import_folder(FolderHome(folder), fleet.add_device(), fleet.database)
    # After a crash before the commit, it is imported again for the same device.
    fleet.registry.remove(home.device.tenant_name, home.device.name)
    fleet.registry.add(home.device.tenant_name, home.device.name, fleet.master)
    import_folder(FolderHome(folder), fleet.home(home.device.tenant_name, home.device.name), fleet.database)


async def test_a_token_of_another_version_is_named(fleet: Fleet, tmp_path: Path) -> None:
    await make_device(tmp_path)
    home = FolderHome(tmp_path)
    Vault(home.documents, home.keys).write("smtp", {"grant": Secret('{"version": 1}')})
    with pytest.raises(VaultError, match="The token of smtp was kept by another version of mailslot: delete it"):
        import_folder(home, fleet.add_device(), fleet.database)


async def test_nothing_is_moved_while_a_token_is_refreshed(fleet: Fleet, tmp_path: Path) -> None:
    await make_device(tmp_path)
    home = FolderHome(tmp_path)
    with home.blocking_lock("smtp", timeout=0), pytest.raises(VaultError, match="in use"):
        import_folder(home, fleet.add_device(), fleet.database)


async def test_a_failed_import_leaves_the_folder_as_it_was(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "copier"
    await make_device(folder)
    home = fleet.add_device("unlucky")
    fleet.registry.remove("unlucky", home.device.name)
    with pytest.raises(Exception, match="unlucky"):
        import_folder(FolderHome(folder), home, fleet.database)
    store = Records(folder).tokens.store("smtp")
    grant = await store.load()
    assert grant is not None
    assert grant.location == store.locate()
    async with Spool(folder) as spool, spool.delivery_lock():
        assert not (await spool.recover()).copied


async def test_what_a_service_uses_is_not_moved(fleet: Fleet, tmp_path: Path) -> None:
    home = FolderHome(tmp_path)
    with home.blocking_lock("service", timeout=0), pytest.raises(VaultError, match="in use"):
        import_folder(home, fleet.add_device(), fleet.database)


def test_an_export_overwrites_nothing(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(InputError, match="not empty"):
        export_device(fleet.add_device(), tmp_path, fleet.database)


def test_commands(postgres: Any, tmp_path: Path) -> None:
    environment = {
        "MAILSLOT_DATABASE": postgres.create_database(),
        "MAILSLOT_MASTER_KEY": str(tmp_path / "master.key"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
    }

    def run(*words: object, code: int = 0) -> str:
        ran = mailslot(*words, **environment)
        assert ran.returncode == code, ran.stderr
        return ran.stdout if code == 0 else ran.stderr

    assert "fleet init" in run("fleet", "add", "acme/copier", code=2)
    assert "master key" in run("fleet", "init")
    assert "up to date" in run("fleet", "init")
    run("fleet", "add", "acme/copier")
    # Another machine must not create a key of its own.
    away = mailslot("fleet", "init", **{**environment, "MAILSLOT_MASTER_KEY": str(tmp_path / "other.key")})
    assert "not on this machine" in away.stdout
    assert not (tmp_path / "other.key").exists()
    assert "already" in run("fleet", "add", "acme/copier", code=2)
    assert "form TENANT/DEVICE" in run("fleet", "add", "copier", code=2)
    place = f"{environment['MAILSLOT_DATABASE']}?device=acme/copier"
    run("--home", place, "set", "network.smtp", "server=mail.example.com", "account=a@example.com")
    assert "mail.example.com" in run("--home", place, "show", "network.smtp")
    assert json.loads(run("--home", place, "slots", "--json"))[0]["token"] == "Not Retrieved"
    assert json.loads(run("--home", place, "jobs", "--json")) == []
    assert "There is no device" in run("--home", place.replace("copier", "printer"), "slots", code=2)
    [device] = json.loads(run("fleet", "list", "--json"))
    assert (device["tenant"], device["device"], device["serving"]) == ("acme", "copier", False)
    status = json.loads(run("fleet", "status", "--json"))
    assert (status["devices"], status["tasks"]["due"], status["tasks"]["late"]) == (1, 1, 0)
    assert status["tenants"][0]["tasks"] == status["tasks"]
    assert status["workers_seen_at"] is None
    run("fleet", "export", "acme/copier", tmp_path / "exported")
    assert "mail.example.com" in run("--home", tmp_path / "exported", "show", "network.smtp")
    run("fleet", "import", tmp_path / "exported", "--tenant", "other")
    assert "other/exported" in run("fleet", "list")
    run("fleet", "remove", "acme/copier", "--yes")
    assert [each["device"] for each in json.loads(run("fleet", "list", "--json"))] == ["exported"]

"""The application that all devices of a tenant share: stored once, used by each, and bound to its provider."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from fleet.tasks import TaskFleet
from mailslot.errors import InputError, MailError
from mailslot.fleet.consent import TenantConsent
from mailslot.fleet.homes import FleetHomes
from mailslot.fleet.key_rotation import rotate_tenant_key
from mailslot.fleet.opening import FleetPlaces
from mailslot.fleet.postgres.consents import Consents
from mailslot.fleet.postgres.database import FleetDatabase
from mailslot.fleet.postgres.directory import DeviceSearch, FleetDirectory
from mailslot.fleet.postgres.key_registry import owner_transaction
from mailslot.fleet.postgres.shared_secrets import TenantSecrets
from mailslot.oauth.http import TokenHttp
from mailslot.slots.oauth_client import client_for_flow
from mailslot.slots.records import Records
from mailslot.slots.shared_application import SharedApplication
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.postgres import Fleet
    from lab.provider import Provider
    from mailslot.fleet.postgres.home import PostgresHome

ACCOUNT = "daemon@example.test"


@pytest.fixture(scope="module")
def tasks(postgres: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskFleet]:
    found = TaskFleet(postgres.create_database(), tmp_path_factory.mktemp("application"))
    yield found
    found.database.close()


def tenant_consent(fleet: Fleet, tenant: str, provider: str) -> TenantConsent:
    places = FleetPlaces(fleet.folder, fleet.folder / "master.key")
    homes = FleetHomes(fleet.url, fleet.database, fleet.master, places)
    return TenantConsent(homes, Consents(fleet.database), tenant, provider)


def settings(provider: Provider, **more: str | None) -> dict[str, str | None]:
    return {
        "server": "localhost",
        "provider": "custom",
        "issuer": provider.issuer,
        "authentication": "oauth2",
        "account": ACCOUNT,
        "scopes": "mail.pop mail.send",
        "flow": "app",
        **more,
    }


def shared(provider: Provider, **more: Any) -> SharedApplication:
    values = {"client_id": "daemon", "issuer": provider.issuer, "client_secret": Secret("daemon-secret"), **more}
    return SharedApplication("custom", **values)


async def work(tasks: TaskFleet, home: PostgresHome, *kinds: str) -> None:
    for kind in kinds:
        await tasks.work().wake(home.device.tenant_name, home.device.name, "" if kind == "plan" else "smtp", kind)


async def test_a_worker_gets_a_token_for_each_device(tasks: TaskFleet, provider: Provider) -> None:
    tenant = tasks.new_tenant()
    homes = [tasks.add_device(tenant) for _ in range(2)]
    for home in homes:
        Records(home).change("smtp", settings(provider), {})
        await work(tasks, home, "plan")
        # There is no application yet.
        assert ("smtp", "renew") not in tasks.tasks(home)
    consent = tenant_consent(tasks, tenant, "custom")
    consent.set_application(shared(provider))
    for home in homes:
        assert tasks.tasks(home)["", "plan"]["due_in"] <= 0
        await work(tasks, home, "plan")
        tasks.make_due(home, "renew")
        await work(tasks, home, "renew")
        grant = await Records(home).tokens.store("smtp").load()
        assert grant is not None
        assert grant.access_token is not None
        assert provider.introspect(grant.access_token.reveal())["active"]
        assert Records(home).vault.read("smtp", "client_secret") is None
    for home in homes:
        await work(tasks, home, "plan")
    assert [each.state for each in FleetDirectory(tasks.database).devices(DeviceSearch(tenant=tenant)).devices] == [
        "ok",
        "ok",
    ]
    async with TokenHttp(trust_env=False) as http:
        assert (await consent.check(http)).missing == {}


async def test_the_event_loop_waits_for_no_database(
    tasks: TaskFleet, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = tasks.new_tenant()
    home = tasks.add_device(tenant)
    tenant_consent(tasks, tenant, "custom").set_application(shared(provider))
    Records(home).change("smtp", settings(provider), {})
    loop, transaction, asked = threading.get_ident(), FleetDatabase.device_transaction, list[bool]()

    def noted(*arguments: Any) -> Any:
        asked.append(threading.get_ident() == loop)
        return transaction(*arguments)

    # Otherwise most of what is read is in memory, as a rule.
    monkeypatch.setattr("mailslot.fleet.postgres.configuration.FRESH_FOR", 0.0)
    monkeypatch.setattr(FleetDatabase, "device_transaction", noted)
    await work(tasks, home, "plan")
    tasks.make_due(home, "renew")
    await work(tasks, home, "renew")
    assert asked
    assert not any(asked)


def test_an_application_that_is_set_while_the_key_changes(
    tasks: TaskFleet, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command has encrypted it with the old key, and stores it when the new key is there."""
    tenant = tasks.new_tenant()
    tasks.add_device(tenant)
    consent = tenant_consent(tasks, tenant, "custom")
    consent.set_application(shared(provider))
    encrypted, read, tried = threading.Event(), threading.Event(), threading.Event()
    share, reading = Consents.share, TenantSecrets.read

    def late(*arguments: Any) -> Any:
        encrypted.set()
        assert read.wait(120)
        try:
            return share(*arguments)
        finally:
            tried.set()

    def slow(*arguments: Any) -> Any:
        found = reading(*arguments)
        read.set()
        assert tried.wait(120)
        return found

    monkeypatch.setattr(Consents, "share", late)
    setting = threading.Thread(target=consent.set_application, args=(shared(provider, client_id="new"),))
    setting.start()
    assert encrypted.wait(120)
    monkeypatch.setattr(TenantSecrets, "read", slow)
    rotate_tenant_key(tasks.database, tenant, tasks.master)
    setting.join()
    found = consent.application()
    assert found is not None
    assert found.client_id == "new"


async def test_a_refusal_is_noted_and_asked_again(tasks: TaskFleet, provider: Provider) -> None:
    tenant = tasks.new_tenant()
    home = tasks.add_device(tenant)
    consent = tenant_consent(tasks, tenant, "custom")
    consent.set_application(shared(provider, client_secret=Secret("wrong")))
    Records(home).change("smtp", settings(provider), {})
    await work(tasks, home, "plan")
    tasks.make_due(home, "renew")
    await work(tasks, home, "renew")
    task = tasks.tasks(home)["smtp", "renew"]
    [health] = FleetDirectory(tasks.database).devices(DeviceSearch(tenant=tenant)).devices
    assert (health.state, health.cause) == ("needs_token", "app_secret_invalid")
    assert (task["failures"], task["cause"]) == (1, "app_secret_invalid")
    assert 0 < task["due_in"] <= 300
    with pytest.raises(MailError):
        async with TokenHttp(trust_env=False) as http:
            await consent.check(http)
    consent.set_application(shared(provider))
    await work(tasks, home, "plan")
    tasks.make_due(home, "renew")
    await work(tasks, home, "renew")
    assert await Records(home).tokens.store("smtp").load() is not None


def test_it_is_bound_to_provider_and_tenant(fleet: Fleet, provider: Provider) -> None:
    home, stranger = fleet.add_device("bound"), fleet.add_device("stranger")
    tenant_consent(fleet, "bound", "custom").set_application(shared(provider))

    def client(home: PostgresHome, **more: str | None) -> Any:
        records = Records(home)
        records.change("smtp", settings(provider, **more), {})
        return client_for_flow(records.vault, "smtp", records.settings.load()["smtp"], "app")

    assert client(home).client_secret == Secret("daemon-secret")
    # Whoever can change a device's settings cannot have the secret sent to another server.
    for more in ({"issuer": "https://evil.example"}, {"token_endpoint": "https://evil.example/token"}):
        with pytest.raises(InputError, match="No application is set"):
            client(home, **more)
        own = {"token_endpoint": None, "client_id": "daemon", "issuer": provider.issuer}
        assert client(home, **own).client_secret is None
        Records(home).change("smtp", {"client_id": None}, {})
    with pytest.raises(InputError, match="No application is set"):
        client(stranger)
    # A device's work can read what its tenant shares, and not change it.
    with (
        pytest.raises(Exception, match="permission denied"),
        fleet.database.device_transaction(home.device, "beside") as connection,
    ):
        connection.execute("DELETE FROM shared_secrets")
    with fleet.database.device_transaction(stranger.device, "read") as connection:
        assert connection.execute("SELECT FROM shared_secrets").fetchall() == []
    tenant_consent(fleet, "bound", "custom").set_application(None)
    with pytest.raises(InputError, match="No application is set"):
        client(home)


def test_it_is_encrypted_with_a_new_data_key(fleet: Fleet, provider: Provider) -> None:
    home = fleet.add_device("resealed")
    consent = tenant_consent(fleet, "resealed", "custom")
    consent.set_application(shared(provider))
    old = home.keys.newest()
    # Nobody can drop a key that is needed.
    with pytest.raises(InputError), owner_transaction(fleet.database) as connection:
        connection.execute("DELETE FROM data_keys WHERE tenant = %s AND id = %s", (home.device.tenant, old.id))
    assert rotate_tenant_key(fleet.database, "resealed", fleet.master) == 1
    later = fleet.home("resealed", home.device.name)
    assert later.keys.newest() != old
    assert later.shared_secrets.read("custom") == shared(provider).to_secret()
    assert fleet.registry.remove("resealed", home.device.name)

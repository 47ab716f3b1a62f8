"""What a fleet looks like from outside: its metrics, from the command and from a worker, and its status."""

from __future__ import annotations

import json
import socket
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import pytest

from command_line import mailslot
from fleet.tasks import TaskFleet
from fleet.test_tasks import accept
from mailslot.errors import InputError, NetworkError
from mailslot.fleet.metrics import OTHERS, fleet_metrics
from mailslot.fleet.metrics_listener import serving_metrics
from mailslot.fleet.postgres import servers
from mailslot.fleet.postgres.statistics import read_statistics
from mailslot.fleet.wakeup_counter import WakeupCounter
from mailslot.spool.spool import Spool
from service.polling_device import mail

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def own(postgres: Any, tmp_path: Any) -> Iterator[TaskFleet]:
    fleet = TaskFleet(postgres.create_database(), tmp_path / "fleet")
    yield fleet
    fleet.database.close()


def samples(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_each_tenant_and_the_whole_fleet(own: TaskFleet) -> None:
    homes = [own.add_device(tenant) for tenant in ("acme", "acme", "globex")]
    for home in homes:
        await accept(home)
    async with Spool(homes[2]) as spool, spool.ledger.receive("fax-pop", "u1") as file:
        await file.write(mail("one"))
    refused = NetworkError("refused", stage="connect", cause="connection_refused", retryable=True)
    for _ in range(servers.FAILURES):
        servers.note_failure(own.database, "mail.example.com:995", homes[0].device.tenant, refused)
    with own.look() as connection:
        connection.execute("UPDATE tasks SET due_at = now() - interval '2 min', failures = 1, cause = 'tls_failed'")
    text = fleet_metrics(read_statistics(own.database, ended=False))
    found = samples(text)
    assert found["mailslot_fleet_tenants"] == 2
    assert found["mailslot_fleet_devices"] == 3
    assert found['mailslot_tenant_devices{tenant="acme"}'] == 2
    assert found['mailslot_fleet_jobs{state="queued"}'] == 3
    assert found['mailslot_tenant_jobs{tenant="globex",state="queued"}'] == 1
    assert found['mailslot_tenant_jobs{tenant="globex",state="failed"}'] == 0
    assert found['mailslot_tenant_fetched_mails{tenant="globex",state="fetched"}'] == 1
    assert found["mailslot_fleet_late_tasks"] == found["mailslot_fleet_due_tasks"] == 4
    assert found['mailslot_tenant_failing_tasks{tenant="acme"}'] == 2
    assert found['mailslot_fleet_failing_tasks_by_cause{kind="deliver",cause="tls_failed"}'] == 3
    assert found['mailslot_fleet_due_tasks_by_kind{kind="handle"}'] == 1
    assert 120 <= found["mailslot_fleet_longest_due_seconds"] < 600
    assert found["mailslot_fleet_stopped_servers"] == 1
    assert found['mailslot_fleet_stopped_server_seconds{server="mail.example.com:995"}'] >= 0
    said = mailslot("fleet", "metrics", MAILSLOT_DATABASE=own.url).stdout
    assert samples(said).keys() == found.keys()
    status = json.loads(mailslot("fleet", "status", "--json", MAILSLOT_DATABASE=own.url).stdout)
    assert status["stopped_servers"] == 1
    assert status["servers"][0]["server"] == "mail.example.com:995"
    assert [each["tasks"]["late"] for each in status["tenants"]] == [2, 2]
    assert "mail.example.com:995 cannot be reached" in mailslot("fleet", "status", MAILSLOT_DATABASE=own.url).stderr


def test_there_are_no_more_labels_than_allowed(own: TaskFleet) -> None:
    for tenant in ("a", "b", "b", "c", "c", "c", "d"):
        own.add_device(tenant)
    statistics = read_statistics(own.database, ended=False)
    found = samples(fleet_metrics(statistics, most_tenants=2))
    devices = {name: value for name, value in found.items() if name.startswith("mailslot_tenant_devices{")}
    assert devices == {
        'mailslot_tenant_devices{tenant="b"}': 2,
        'mailslot_tenant_devices{tenant="c"}': 3,
        f'mailslot_tenant_devices{{tenant="{OTHERS}"}}': 2,
    }
    assert not [name for name in samples(fleet_metrics(statistics, most_tenants=0)) if "tenant=" in name]


def test_a_worker_answers_a_monitoring_system() -> None:
    counter, calls = WakeupCounter(), 0
    counter.add("poll", "done", 1.5)

    def read() -> str:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise InputError("The fleet's database cannot be used.", stage="resolve")
        return counter.metrics()

    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with serving_metrics(listener, read, kept_for=0.0):
        with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert samples(answer.read().decode())['mailslot_worker_wakeups_total{kind="poll",outcome="done"}'] == 1
        with pytest.raises(HTTPError, match="503") as caught:
            urllib.request.urlopen(f"{address}/metrics", timeout=60)
        assert b"cannot be used" in caught.value.read()
        with pytest.raises(HTTPError, match="404"):
            urllib.request.urlopen(f"{address}/", timeout=60)

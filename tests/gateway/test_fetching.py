"""From the server upstream through the gateway's maildrop to a device's client."""

from __future__ import annotations

import hashlib
import poplib
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.lowlevel
import pytest
from anyio.to_thread import run_sync

from gateway.gateway_device import GatewayDevice, run_gateway, untrusting
from mailslot.service.handling import WAITS_FOR_DEVICE, handle_waiting
from mailslot.service.pipeline import Done
from mailslot.slots.accounts import add_account
from mailslot.slots.gateway.entries import add_device, add_listener, remove_device, set_device_password
from mailslot.slots.gateway.passwords import DevicePasswords
from mailslot.slots.slot import is_account
from mailslot.vault.errors import VaultError
from mailslot_plugins.gateway import maildrop
from mailslot_plugins.gateway.maildrop import Maildrops
from pop3.server import clients

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from mailslot.pop3.server.maildrop import Message
    from mailslot.spool.incoming import Incoming
    from mailslot.wire.secret import Secret
    from mailslot_plugins.gateway.maildrop import LedgerMaildrop

T = TypeVar("T")

pytestmark = pytest.mark.anyio

BOX, OTHER = "account.box", "account.other"
MAILS = [b"Subject: mail %d\r\n\r\n.dot\r\nline\r\n" % number for number in range(3)]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One is enough for what devices fetch; the POP3 server and the gateway have tests on both."""
    return "asyncio"


class Fetching:
    """A gateway with a POP3 listener and two accounts that fetch."""

    def __init__(self, gateway: GatewayDevice) -> None:
        self.gateway = gateway
        self.device = gateway.device
        self.records = gateway.device.records

    async def put(self, *mails: bytes, record: str = BOX) -> list[Incoming]:
        """Put mails into the spool, as polling does; those of accounts are handled already."""
        found = []
        for mail in mails:
            uid = hashlib.sha256(mail).hexdigest()
            async with self.device.spool.ledger.receive(record, uid, len(mail)) as file:
                await file.write(mail)
            assert file.mail is not None
            if is_account(record):
                later = self.device.now() + WAITS_FOR_DEVICE.seconds
                await self.device.spool.ledger.postpone(file.mail.id, later, WAITS_FOR_DEVICE.why)
            found.append(file.mail)
        return found

    async def left(self, record: str = BOX) -> list[str]:
        """Return the states of a record's mails, oldest first."""
        mails = await self.device.spool.ledger.mails(record)
        return [f"{mail.state}{'' if mail.path is None else ' kept'}" for mail in mails[::-1]]

    async def add(self, name: str, *, known: bool = True, **values: object) -> Secret | None:
        """Add a device; return once the gateway has read the settings, unless others are to be added at once."""
        options = {key: values.pop(key) for key in ("password", "recoverable") if key in values}
        made = await run_sync(partial(add_device, self.records, name, {"via": BOX, **values}, **options))
        if known:
            await self.refresh()
        return made

    async def refresh(self) -> None:
        """Have the gateway read the settings; a listener that is opened last shows that it has."""
        name = f"mark{time.monotonic_ns()}"
        await run_sync(add_listener, self.records, name, {"listen": "127.0.0.1:0"})
        await self.device.refresh()
        await self.gateway.port(name)

    async def client(self, work: Callable[[poplib.POP3], T], *, listener: str = "fetch", tls: bool = True) -> T:
        """Run what a device does, in a thread."""
        port = await self.gateway.port(listener)

        def run() -> T:
            client = poplib.POP3("127.0.0.1", port, timeout=120)
            try:
                if tls:
                    client.stls(context=untrusting())
                return work(client)
            finally:
                client.close()

        return await run_sync(run)

    async def verdicts(self, name: str, count: int) -> list[tuple[bool, str, str]]:
        """Return the last verdicts on a device, the newest first, once there are so many."""

        async def enough() -> list[tuple[bool, str, str]]:
            found = [(each.ok, each.cause, each.verdict) for each in await self.gateway.log.dialogues(name)]
            return found if len(found) >= count else []

        return await self.gateway.until_some(enough)


@pytest.fixture
async def fetching(tmp_path: Path) -> AsyncIterator[Fetching]:
    async with run_gateway(tmp_path / "home") as gateway:
        made = Fetching(gateway)
        await run_sync(add_account, made.records, "box", "POP")
        await run_sync(add_account, made.records, "other", "POP")
        await run_sync(add_listener, made.records, "fetch", {"listen": "127.0.0.1:0", "protocol": "pop3"})
        await made.refresh()
        yield made


def sign_in(client: poplib.POP3, user: str, password: Secret | None) -> str:
    """Sign in; return the response, a refusal too."""
    try:
        client.user(user)
        return client.pass_("anything" if password is None else password.reveal()).decode()
    except poplib.error_proto as error:
        return error.args[0].decode()


async def test_a_device_fetches_and_deletes(fetching: Fetching) -> None:
    password = await fetching.add("fax", user="fax")
    mails = await fetching.put(*MAILS)
    await fetching.put(b"Subject: not for it\r\n\r\n", record=OTHER)

    def fetch(client: poplib.POP3) -> list[bytes]:
        assert sign_in(client, "FAX", password) == "+OK 3 messages"
        found = [b"\r\n".join([*client.retr(number)[1], b""]) for number in (1, 2, 3)]
        assert client.stat() == (3, sum(map(len, MAILS)))
        assert client.top(1, 1)[1] == [b"Subject: mail 0", b"", b".dot"]
        client.dele(1)
        client.dele(3)
        client.quit()
        return found

    assert await fetching.client(fetch) == MAILS
    assert await fetching.left() == ["done", "fetched kept", "done"]
    assert await fetching.left(OTHER) == ["fetched kept"]
    noted = await fetching.device.spool.ledger.mail(mails[0].id)
    assert noted.reason == "The device fax has fetched it."
    assert await fetching.verdicts("fax", 1) == [(True, "ok", "3 messages fetched, 2 deleted.")]
    assert (await fetching.gateway.log.dialogues("fax"))[0].tls

    # What polling sees again, it knows; the device sees it no more.
    await fetching.put(MAILS[0])
    assert await fetching.left() == ["done", "fetched kept", "done"]


async def test_unique_ids_stay(fetching: Fetching) -> None:
    password = await fetching.add("fax", user="fax")
    mails = await fetching.put(*MAILS)

    def uids(client: poplib.POP3) -> list[bytes]:
        sign_in(client, "fax", password)
        found = client.uidl()[1]
        client.quit()
        return found

    assert await fetching.client(uids) == [f"{at} {mail.digest[:32]}".encode() for at, mail in enumerate(mails, 1)]
    await fetching.device.spool.ledger.mark_done(mails[0].id)
    # A second process, or the next start: they come of the mail itself.
    opened = await Maildrops(fetching.device.spool.ledger).open(BOX, "fax")
    assert opened is not None
    assert [message.uid for message in opened.messages] == [mail.digest[:32] for mail in mails[1:]]


async def test_without_quit_nothing_is_lost(fetching: Fetching) -> None:
    password = await fetching.add("fax", user="fax")
    await fetching.put(*MAILS)

    def fetch(client: poplib.POP3) -> None:
        sign_in(client, "fax", password)
        client.retr(1)
        client.dele(1)

    await fetching.client(fetch)
    [(ok, cause, sentence)] = await fetching.verdicts("fax", 1)
    assert (ok, cause) == (False, "device_without_quit")
    assert "without QUIT" in sentence
    assert await fetching.left() == ["fetched kept"] * 3
    await fetching.client(fetch)


async def test_one_session_a_maildrop(fetching: Fetching) -> None:
    password = await fetching.add("fax", user="fax", known=False)
    second = await fetching.add("printer", user="printer", known=False)
    await fetching.add("elsewhere", user="elsewhere", via=OTHER, password=password)
    await fetching.put(*MAILS)
    port = await fetching.gateway.port("fetch")

    def hold() -> poplib.POP3:
        client = poplib.POP3("127.0.0.1", port, timeout=120)
        client.stls(context=untrusting())
        assert sign_in(client, "fax", password) == "+OK 3 messages"
        return client

    holding = await run_sync(hold)
    busy = await fetching.client(lambda client: sign_in(client, "printer", second))
    assert busy == "-ERR [IN-USE] The mailbox is in use by another session"
    assert await fetching.client(lambda client: sign_in(client, "elsewhere", password)) == "+OK 0 messages"
    # It is released as the session ends, in whatever way.
    await run_sync(holding.close)

    async def again() -> bool:
        return await fetching.client(lambda client: sign_in(client, "printer", second)) == "+OK 3 messages"

    await fetching.gateway.until_some(again)
    causes = [cause for _, cause, _ in await fetching.verdicts("printer", 2)]
    assert "mailbox_in_use" in causes
    assert "ok" in causes


async def test_strangers_and_wrong_passwords(fetching: Fetching) -> None:
    password = await fetching.add("fax", user="fax", address=["203.0.113.5"], known=False)
    await fetching.add("near", user="near", known=False)
    await fetching.add("sender", user="sender", via="account.office")
    due = "-ERR [AUTH] User name or password is wrong"
    # Right, but from elsewhere.
    assert await fetching.client(lambda client: sign_in(client, "fax", password)) == due
    assert await fetching.client(lambda client: sign_in(client, "near", password)) == due
    # A device that only sends.
    assert await fetching.client(lambda client: sign_in(client, "sender", password)) == due
    assert (await fetching.verdicts("near", 1))[0][:2] == (False, "device_password_wrong")

    async def knocked() -> list[str]:
        found = [each for each in await fetching.gateway.log.unknown_devices() if each.listener == "fetch"]
        return [each.user for each in found if each.user == "sender"]

    # The first one that came from this address, with the wrong user, may have been written before.
    assert await fetching.gateway.until_some(knocked) == ["sender"]


async def test_passwords_in_clear(fetching: Fetching) -> None:
    password = await fetching.add("fax", user="fax", address=["127.0.0.1"])
    refusal = await fetching.client(lambda client: sign_in(client, "fax", password), tls=False)
    assert refusal == "-ERR [AUTH] Sign in only after STLS"
    assert (await fetching.verdicts("fax", 1))[0][:2] == (False, "device_signs_in_without_tls")
    await run_sync(
        add_listener, fetching.records, "clear", {"listen": "127.0.0.1:0", "protocol": "pop3", "security": "none"}
    )
    await fetching.device.refresh()
    signed_in = await fetching.client(lambda client: sign_in(client, "fax", password), listener="clear", tls=False)
    assert signed_in == "+OK 0 messages"


async def test_a_device_that_its_address_identifies(fetching: Fetching) -> None:
    await fetching.add("fax", address=["127.0.0.1"], known=False)
    await fetching.add("printer", user="printer", via=OTHER)
    await fetching.put(*MAILS)
    assert await fetching.client(lambda client: sign_in(client, "whoever", None)) == "+OK 3 messages"
    # Another device's user needs its password all the same.
    assert (await fetching.client(lambda client: sign_in(client, "printer", None))).startswith("-ERR [AUTH]")


async def test_apop(fetching: Fetching) -> None:
    await fetching.add("near", user="near")
    greeting = await fetching.client(lambda client: client.welcome.decode())
    assert greeting == "+OK POP3 server ready"
    password = await fetching.add("fax", user="fax", recoverable=True)
    assert password is not None
    await fetching.put(*MAILS)

    def apop(client: poplib.POP3, secret: str, user: str = "fax") -> str:
        assert re.search(rb"<\S+@\S+>$", client.welcome)
        try:
            return client.apop(user, secret).decode()
        except poplib.error_proto as error:
            return error.args[0].decode()

    wrong = "-ERR [AUTH] User name or password is wrong"
    assert await fetching.client(lambda client: apop(client, "guessed")) == wrong
    assert await fetching.client(lambda client: apop(client, "", "nobody")) == wrong
    assert await fetching.client(lambda client: apop(client, "", "near")) == wrong
    assert await fetching.client(lambda client: apop(client, password.reveal())) == "+OK 3 messages"
    [dialogue, *_] = await fetching.gateway.until_some(lambda: fetching.gateway.log.dialogues("fax"))
    assert password.reveal() not in str(dialogue)


async def test_passwords_that_cannot_be_read_now(fetching: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every client is greeted, and told so when it signs in."""
    password = await fetching.add("fax", user="fax", recoverable=True)
    assert password is not None

    async def fail(*_: object) -> None:
        raise VaultError("There are no descriptors.", cause="token_store_unreadable", retryable=True)

    def apop(client: poplib.POP3) -> str:
        with pytest.raises(poplib.error_proto) as refused:
            client.apop("fax", password.reveal())
        return str(refused.value.args[0].decode())

    monkeypatch.setattr(DevicePasswords, "recoverable", fail)
    assert await fetching.client(apop) == "-ERR [SYS/TEMP] The mailbox cannot be opened now"


@pytest.mark.parametrize("apop", [False, True])
async def test_a_new_password_ends_what_the_old_one_began(fetching: Fetching, apop: bool) -> None:
    old = await fetching.add("fax", user="fax", recoverable=apop)
    assert old is not None
    await fetching.put(*MAILS)
    port = await fetching.gateway.port("fetch")

    def begin() -> poplib.POP3:
        client = poplib.POP3("127.0.0.1", port, timeout=120)
        client.stls(context=untrusting())
        if apop:
            client.apop("fax", old.reveal())
        else:
            sign_in(client, "fax", old)
        client.dele(1)
        return client

    def go_on(client: poplib.POP3) -> str:
        with pytest.raises(poplib.error_proto) as refused:
            client.retr(2)
        assert client.file.read() == b""
        client.close()
        return str(refused.value.args[0].decode())

    begun = await run_sync(begin)
    new = await run_sync(set_device_password, fetching.records, "fax")
    due = "-ERR [AUTH] The password has changed; connect and sign in again"
    assert await run_sync(go_on, begun) == due
    assert (await fetching.verdicts("fax", 1))[0][:2] == (False, "device_password_wrong")
    # The maildrop is free for the new one, and nothing was deleted.
    assert await fetching.client(lambda client: sign_in(client, "fax", new)) == "+OK 3 messages"


async def test_what_is_no_longer_a_devices_own_ends_its_session(fetching: Fetching) -> None:
    password = await fetching.add("fax", user="fax")
    await fetching.put(*MAILS)
    port = await fetching.gateway.port("fetch")

    def begin() -> poplib.POP3:
        client = poplib.POP3("127.0.0.1", port, timeout=120)
        client.stls(context=untrusting())
        sign_in(client, "fax", password)
        return client

    def is_refused(client: poplib.POP3) -> bool:
        with pytest.raises(poplib.error_proto) as refused:
            client.uidl()
        client.close()
        return refused.value.args[0].startswith(b"-ERR [AUTH] What this device may fetch has changed")

    moved = await run_sync(begin)
    await run_sync(fetching.records.settings.edit, {("devices", "fax"): {"via": OTHER}})
    await fetching.refresh()
    assert await run_sync(is_refused, moved)
    removed = await run_sync(begin)
    await run_sync(remove_device, fetching.records, "fax")
    await fetching.refresh()
    assert await run_sync(is_refused, removed)


async def test_mail_that_was_set_aside_is_served_from_accounts(fetching: Fetching) -> None:
    ledger = fetching.device.spool.ledger
    [mail, *_] = await fetching.put(*MAILS)
    await ledger.set_aside(mail.id, "Handling it was interrupted 3 times.")
    drops = Maildrops(ledger)
    opened = await drops.open(BOX, "fax")
    assert opened is not None
    assert len(opened.messages) == 3
    assert await drops.open(BOX, "fax") is None
    opened.release()
    # Elsewhere, somebody is to look at it.
    [other] = await fetching.put(b"Subject: a fax\r\n\r\n", record="fax-pop")
    await ledger.set_aside(other.id, "It cannot be printed.")
    opened = await drops.open("fax-pop", "fax")
    assert opened is not None
    assert list(opened.messages) == []


class Printing:
    """A pipeline that handles whatever comes."""

    name = "fax"
    section = None
    polls = "fax-pop"

    def __init__(self) -> None:
        self.handled: list[int] = []

    async def handle(self, mail: Incoming, device: object) -> Done:
        self.handled.append(mail.id)
        return Done()

    async def run(self, device: object) -> None:
        await anyio.lowlevel.checkpoint()


async def test_the_mail_of_a_slot_is_for_the_devices_that_fetch_it(fetching: Fetching) -> None:
    printing = Printing()
    [mail] = await fetching.put(MAILS[0], record="fax-pop")
    password = await fetching.add("fax", user="fax", via="fax.pop")
    await handle_waiting(fetching.device, "fax-pop", printing)
    assert printing.handled == []
    assert await fetching.left("fax-pop") == ["fetched kept"]
    assert await fetching.client(lambda client: sign_in(client, "fax", password)) == "+OK 1 messages"
    # Nobody fetches it any more: it is the slot's again.
    await run_sync(remove_device, fetching.records, "fax")
    await fetching.device.spool.ledger.postpone(mail.id, 0.0, "")
    await handle_waiting(fetching.device, "fax-pop", printing)
    assert printing.handled == [mail.id]


async def test_a_mail_that_is_deleted_while_it_is_to_be_handled(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = fetching.device.spool.ledger
    mails = await fetching.put(*MAILS, record="fax-pop")
    waiting = await ledger.waiting("fax-pop")
    await ledger.mark_all_done([mails[0].id])
    lists = iter([waiting, []])

    async def outdated(*_: object) -> list[Incoming]:
        return next(lists)

    monkeypatch.setattr(ledger, "waiting", outdated)
    printing = Printing()
    assert len(await handle_waiting(fetching.device, "fax-pop", printing)) == 2
    assert printing.handled == [mails[1].id, mails[2].id]


async def test_deletions_are_all_or_none(fetching: Fetching) -> None:
    ledger = fetching.device.spool.ledger
    mails = await fetching.put(*MAILS)
    opened = await Maildrops(ledger).open(BOX, "fax")
    assert opened is not None
    gone = opened.messages[0].__class__(10_000, "gone", 1)
    with pytest.raises(OSError, match="There is no mail 10000"):
        await opened.delete([*opened.messages, gone])
    assert [mail.state for mail in await ledger.mails(BOX)] == ["fetched"] * 3
    assert all(mail.path is not None and mail.path.exists() for mail in mails)
    assert opened.deleted == 0


class Threads:
    """Counts the calls in threads that maildrops make."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        patch.setattr(maildrop, "run_sync", self._counted)

    async def _counted(self, function: Callable[..., T], *arguments: Any) -> T:
        self.calls += 1
        return await run_sync(function, *arguments)


async def read(opened: LedgerMaildrop, message: Message) -> bytes:
    found = b""
    async with opened.open(message) as reader:
        while piece := await reader.read():
            found += piece
    return found


async def test_short_mails_are_read_together(fetching: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    mails = [b"Subject: mail %d\r\n\r\n" % number + b"x" * 4_000 for number in range(40)]
    mails[20] += b"x" * 200_000
    put = await fetching.put(*mails)
    opened = await Maildrops(fetching.device.spool.ledger).open(BOX, "fax")
    assert opened is not None
    threads = Threads(monkeypatch)
    # A header first, and then the message, as some devices fetch them.
    for message, mail in zip(opened.messages, mails, strict=True):
        assert await read(opened, message) == mail
        assert await read(opened, message) == mail
    # Five pieces of the long one, twice.
    assert threads.calls == 2 + 10 + 2
    # In any other order, none is read that nobody has asked for.
    for message, mail in reversed(list(zip(opened.messages[:15], mails[:15], strict=True))):
        assert await read(opened, message) == mail
    assert threads.calls == 14 + 15
    opened.release()
    first, second, third, *_ = opened.messages
    assert put[2].path is not None
    await run_sync(put[2].path.unlink)
    assert [await read(opened, each) for each in (first, second)] == mails[:2]
    with pytest.raises(FileNotFoundError):
        await read(opened, third)


async def test_a_mail_that_was_retrieved_is_kept_in_memory_no_longer(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fetching.put(*MAILS)
    opened = await Maildrops(fetching.device.spool.ledger).open(BOX, "fax")
    assert opened is not None
    threads = Threads(monkeypatch)
    for message, mail in zip(opened.messages, MAILS, strict=True):
        assert await read(opened, message) == mail
        opened.note_retrieved(message)
    assert threads.calls == 1
    for message, mail in zip(opened.messages[1:], MAILS[1:], strict=True):
        assert await read(opened, message) == mail
    assert (threads.calls, opened.retrieved) == (3, 3)


@pytest.mark.parametrize("client", [clients.mpop, clients.fetchmail, clients.getmail])
async def test_programs_that_fetch_mail_are_served(
    fetching: Fetching, client: Callable[[int, str, str, Path], list[str]], tmp_path: Path
) -> None:
    password = await fetching.add("fax", user="fax")
    assert password is not None
    await run_sync(
        add_listener, fetching.records, "plain", {"listen": "127.0.0.1:0", "protocol": "pop3", "security": "none"}
    )
    await fetching.refresh()
    await fetching.put(*MAILS)
    box = tmp_path / "box"
    command = client(await fetching.gateway.port("plain"), "fax", password.reveal(), box)
    with anyio.fail_after(300):
        ended = await anyio.run_process(command, check=False)
    assert ended.returncode == 0, (ended.stdout + ended.stderr).decode()
    subjects = re.findall(rb"^Subject: mail (.)", box.read_bytes(), re.MULTILINE)
    assert subjects == [b"0", b"1", b"2"]
    assert await fetching.left() == ["done"] * 3

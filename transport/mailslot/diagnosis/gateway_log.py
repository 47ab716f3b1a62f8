"""The gateway's log: the last dialogues of devices, unknown devices, and the state of the listeners.

The running gateway writes it, and commands and the panel read it. Mail does not depend on it, so it is written only
every few seconds, in one transaction, and a crash loses the rest. Everything in it is bounded, whatever clients send.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from mailslot.diagnosis.listener_certificate import ListenerCertificate
from mailslot.errors import MailError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mailslot.spool.store import Store

STORE: Final = "gateway log"
"""The name of its `Store`."""

MAX_DIALOGUES: Final = 10
"""Dialogues that are kept of each device."""

MAX_UNKNOWN: Final = 200
"""Addresses of unknown devices that are kept."""

MAX_LINES: Final = 200
"""Lines of a dialogue; the first and the last ones are kept."""

_MAX_LINE: Final = 500
_MAX_WORD: Final = 255
_INTERVAL: Final = 2.0
_DIALOGUES: Final = "dialogues "
_UNKNOWN: Final = "unknown "
_LISTENING: Final = "listening"
_FAILURES: Final = "listener failures"
_CERTIFICATES: Final = "listener certificates"


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One connection of a device.

    Attributes:
        at: when it ended, in seconds since 1970.
        listener: the listener.
        address: the client's address.
        tls: the version of TLS, such as ``"TLSv1.2"``; empty without TLS.
        ok: whether nothing failed.
        cause: an id of the catalogue of causes; ``"ok"`` if nothing failed.
        verdict: the outcome, in one sentence.
        lines: the transcript, without secrets.
        messages: the number of messages that it submitted or fetched.
    """

    at: float
    listener: str
    address: str
    tls: str
    ok: bool
    cause: str
    verdict: str
    lines: tuple[str, ...] = ()
    messages: int = 0


@dataclass(frozen=True, slots=True)
class UnknownDevice:
    """An unknown device, which was refused.

    Attributes:
        address: its address.
        listener: the listener to which it connected last.
        helo: the name in its last HELO or EHLO; empty without one.
        user: the user that it tried last; empty without one.
        tls: the version of TLS; empty without TLS.
        verdict: why it was refused, in one sentence.
        first_at: when it connected first, in seconds since 1970.
        last_at: when it connected last.
        count: how often it connected.
        cause: an id of the catalogue of causes.
    """

    address: str
    listener: str
    helo: str
    user: str
    tls: str
    verdict: str
    first_at: float
    last_at: float
    count: int = 1
    cause: str = ""


class GatewayLog:
    """The log of one home folder.

    Args:
        store: where it is kept, `Device.store` of `STORE`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._dialogues: dict[str, deque[Dialogue]] = {}
        self._unknown: dict[str, UnknownDevice] = {}
        self._listeners: dict[str, Any] = {}
        self._new_listeners: dict[str, Any] | None = None
        self._noted = anyio.Event()
        self._listeners_changed = anyio.Event()
        self._writing = anyio.Lock()

    # Called by the gateway; these methods never wait for the disk.

    def note_dialogue(self, device: str, dialogue: Dialogue) -> None:
        """Add a dialogue of a device.

        Args:
            device: its name.
            dialogue: the dialogue; texts that are too long are truncated.
        """
        self._dialogues.setdefault(device, deque(maxlen=MAX_DIALOGUES)).append(_bounded_dialogue(dialogue))
        self._noted.set()

    def note_unknown(
        self,
        at: float,
        address: str,
        *,
        listener: str,
        helo: str = "",
        user: str = "",
        tls: str = "",
        verdict: str,
        cause: str = "",
    ) -> None:
        """Add a connection of an unknown device, which was refused.

        Args:
            at: the time, in seconds since 1970.
            address: its address.
            listener: the listener.
            helo: the name in its HELO or EHLO.
            user: the user that it tried.
            tls: the version of TLS.
            verdict: why it was refused, in one sentence.
            cause: an id of the catalogue of causes.
        """
        new = UnknownDevice(
            address=_clean(address, _MAX_WORD),
            listener=_clean(listener, _MAX_WORD),
            helo=_clean(helo, _MAX_WORD),
            user=_clean(user, _MAX_WORD),
            tls=_clean(tls, _MAX_WORD),
            verdict=_clean(verdict, _MAX_WORD),
            first_at=at,
            last_at=at,
            cause=cause,
        )
        self._unknown[new.address] = _merged(self._unknown.pop(new.address, None), new)
        while len(self._unknown) > MAX_UNKNOWN:
            self._unknown.pop(next(iter(self._unknown)))
        self._noted.set()

    def note_listening(
        self,
        addresses: Mapping[str, tuple[str, int]],
        failures: Mapping[str, str] | None = None,
        certificates: Mapping[str, Sequence[ListenerCertificate]] | None = None,
    ) -> None:
        """Store the state of the listeners; nothing is written if it has not changed.

        Args:
            addresses: hosts and ports, by the names of the listeners.
            failures: why a listener or its new certificate cannot be used, in one sentence, by the listener's name.
            certificates: the certificates that each listener with TLS presents.
        """
        shown = {name: list(map(asdict, each)) for name, each in (certificates or {}).items()}
        listeners = {_LISTENING: dict(addresses), _FAILURES: dict(failures or {}), _CERTIFICATES: shown}
        if listeners != self._listeners:
            self._listeners = self._new_listeners = listeners
            self._noted.set()
            self._listeners_changed.set()

    async def run(self) -> None:
        """Write new entries every few seconds, and changes of listeners at once, until cancelled; then once more.

        Raises:
            MailError: it cannot be written; the entries are kept for another try.
        """
        try:
            while True:
                await self._noted.wait()
                await self.flush()
                with anyio.move_on_after(_INTERVAL):
                    await self._listeners_changed.wait()
        finally:
            with anyio.move_on_after(1, shield=True), suppress(MailError):
                await self.flush()

    async def flush(self) -> None:
        """Write new entries.

        Raises:
            MailError: as for `run`.
        """
        async with self._writing:
            await self._flush()

    async def _flush(self) -> None:
        self._noted, self._listeners_changed = anyio.Event(), anyio.Event()
        dialogues, self._dialogues = self._dialogues, {}
        unknown, self._unknown = self._unknown, {}
        listeners, self._new_listeners = self._new_listeners, None
        if not dialogues and not unknown and listeners is None:
            return
        try:
            # Shielded, since entries that are being written when this is cancelled must not be written twice.
            with anyio.CancelScope(shield=True):
                await self._write(dialogues, unknown, listeners or {})
        except MailError:
            for device, noted in self._dialogues.items():
                dialogues.setdefault(device, deque(maxlen=MAX_DIALOGUES)).extend(noted)
            self._dialogues = dialogues
            self._unknown = unknown | {
                address: _merged(unknown.get(address), noted) for address, noted in self._unknown.items()
            }
            self._new_listeners = self._new_listeners or listeners
            self._noted.set()
            raise

    async def _write(
        self,
        dialogues: Mapping[str, deque[Dialogue]],
        unknown: Mapping[str, UnknownDevice],
        listeners: Mapping[str, Any],
    ) -> None:
        values = dict(listeners)
        for device, new in dialogues.items():
            before = await self.dialogues(device)
            kept = [*reversed(new), *before]
            values[f"{_DIALOGUES}{device}"] = [asdict(each) for each in kept[:MAX_DIALOGUES]]
        known = {each.address: each for each in await self.unknown_devices()} if unknown else {}
        merged = known | {address: _merged(known.get(address), new) for address, new in unknown.items()}
        kept_addresses = sorted(merged, key=lambda address: merged[address].last_at, reverse=True)[:MAX_UNKNOWN]
        values |= {f"{_UNKNOWN}{each}": asdict(merged[each]) for each in kept_addresses if each in unknown}
        await self._store.update(values, [f"{_UNKNOWN}{each}" for each in known.keys() - set(kept_addresses)])

    # Called by commands and the panel.

    async def dialogues(self, device: str) -> list[Dialogue]:
        """Return the last dialogues of a device, the newest first.

        Raises:
            MailError: it cannot be read.
        """
        rows = cast("list[dict[str, Any]]", await self._store.get(f"{_DIALOGUES}{device}", []))
        return [replace(Dialogue(**row), lines=tuple(row["lines"])) for row in rows]

    async def devices(self) -> list[str]:
        """Return the names of the devices that have dialogues.

        Raises:
            MailError: as for `dialogues`.
        """
        return [key.removeprefix(_DIALOGUES) for key in await self._store.keys() if key.startswith(_DIALOGUES)]

    async def unknown_devices(self) -> list[UnknownDevice]:
        """Return the unknown devices, the newest first.

        Raises:
            MailError: as for `dialogues`.
        """
        rows = [value for key, value in (await self._store.items()).items() if key.startswith(_UNKNOWN)]
        return sorted((UnknownDevice(**row) for row in rows), key=lambda each: each.last_at, reverse=True)

    async def listening(self) -> dict[str, tuple[str, int]]:
        """Return the hosts and ports of the listeners when the gateway was last started, by their names.

        Raises:
            MailError: as for `dialogues`.
        """
        rows = cast("dict[str, list[Any]]", await self._store.get(_LISTENING, {}))
        return {name: (str(host), int(port)) for name, (host, port) in rows.items()}

    async def failures(self) -> dict[str, str]:
        """Return why listeners, or their new certificates, could not be used, by their names.

        Raises:
            MailError: as for `dialogues`.
        """
        return cast("dict[str, str]", await self._store.get(_FAILURES, {}))

    async def certificates(self) -> dict[str, list[ListenerCertificate]]:
        """Return the certificates of the listeners with TLS when they were last open, by their names.

        Raises:
            MailError: as for `dialogues`.
        """
        rows = cast("dict[str, list[dict[str, Any]]]", await self._store.get(_CERTIFICATES, {}))
        return {name: list(map(ListenerCertificate.from_json, each)) for name, each in rows.items()}

    async def forget(self, *, unknown: Iterable[str] = (), device: str | None = None) -> None:
        """Delete unknown devices that have become known, or a removed device.

        Raises:
            MailError: it cannot be written.
        """
        keys = [f"{_UNKNOWN}{address}" for address in unknown]
        async with self._writing:
            if device is not None:
                self._dialogues.pop(device, None)
                keys.append(f"{_DIALOGUES}{device}")
            await self._store.update({}, keys)


def _merged(before: UnknownDevice | None, new: UnknownDevice) -> UnknownDevice:
    """Merge two connections of an unknown device; values that the new one lacks are taken from the earlier one."""
    if before is None:
        return new
    return replace(
        new,
        helo=new.helo or before.helo,
        user=new.user or before.user,
        tls=new.tls or before.tls,
        first_at=before.first_at,
        count=before.count + new.count,
    )


def _bounded_dialogue(dialogue: Dialogue) -> Dialogue:
    lines = dialogue.lines
    if len(lines) > MAX_LINES:
        half = MAX_LINES // 2
        lines = (*lines[:half], "…", *lines[half + 1 - MAX_LINES :])
    return replace(
        dialogue,
        verdict=_clean(dialogue.verdict, _MAX_LINE),
        lines=tuple(_clean(line, _MAX_LINE) for line in lines),
    )


def _clean(text: str, most: int) -> str:
    """Return a text on one line, without characters that a terminal would interpret."""
    if len(text) <= most and text.isprintable():
        return text
    shown = "".join(letter if letter.isprintable() else "�" for letter in text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"

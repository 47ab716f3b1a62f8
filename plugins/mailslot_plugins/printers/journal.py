"""What is remembered of documents on their way to a printer, so that each is printed once, whatever happens.

Each step is on the disk before the octet that makes it true. After a crash, or a lost answer, the printer is asked for
the job that bears the attempt's token before anything is sent to it again.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.spool.store import Store

Step = Literal["new", "begun", "created", "sent", "printed", "failed"]
"""`new`: nothing has left. `begun`: a job may be there. `created`: it is there, and its document may be.
`sent`: the printer has said that it has the document. `printed` and `failed`: the end."""

ENDED: Final = frozenset({"printed", "failed"})


class Attempt:
    """One document on its way to a printer.

    Attributes:
        token: what its job's name begins with; nothing else at the printer bears it.
        step: how far it got.
        job: the printer's number for it; None before it has one.
        said: what there is to say of its end.
        owner: in whose name the printer is asked.
    """

    def __init__(self, journal: Journal, name: str, values: Mapping[str, Any]) -> None:
        self._journal = journal
        self._name = name
        self.token: str = values.get("token") or _new_token()
        self.step: Step = values.get("step", "new")
        self.job: int | None = values.get("job")
        self.said: str = values.get("said", "")
        self.owner: str = values.get("owner", "")

    async def reach(self, step: Step, *, job: int | None = None, said: str = "") -> None:
        """Note a step; it is on the disk when this returns."""
        self.step, self.said = step, said
        self.job = self.job if job is None else job
        await self._journal.note(self._name, self.as_json())

    async def restart(self) -> None:
        """Begin anew, under another token: what bears the old one will never be printed."""
        self.token, self.step, self.job, self.said = _new_token(), "new", None, ""
        await self._journal.note(self._name, self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {"token": self.token, "step": self.step, "job": self.job, "said": self.said, "owner": self.owner}


class Journal:
    """All that is remembered of one mail.

    Args:
        store: the pipeline's memory.
        key: the mail's name in it, such as ``"mail:7"``.
        values: what was there before.
    """

    def __init__(self, store: Store, key: str, values: Mapping[str, Any] | None = None) -> None:
        self._store = store
        self._key = key
        self._values: dict[str, Any] = dict(values or {})

    @classmethod
    async def load(cls, store: Store, key: str) -> Journal:
        """Return what is remembered under a key."""
        return cls(store, key, await store.get(key))

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - any JSON
        """Return a value."""
        return self._values.get(name, default)

    async def note(self, name: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Set a value; it is on the disk when this returns."""
        self._values[name] = value
        await self._store.put(self._key, self._values)

    def attempt(self, name: str) -> Attempt:
        """Return what is remembered of a document; a new attempt where nothing is."""
        return Attempt(self, f"document:{name}", self._values.get(f"document:{name}", {}))

    async def take_up(self) -> None:
        """Forget the documents that failed, since a person has the mail handled again; the printed ones stay so."""
        kept = {
            name: value
            for name, value in self._values.items()
            if not (name.startswith("document:") and value.get("step") == "failed")
        }
        if kept != self._values:
            self._values = kept
            await self._store.put(self._key, self._values)


def _new_token() -> str:
    return f"mail-{secrets.token_hex(6)}"

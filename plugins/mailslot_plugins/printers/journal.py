"""The journal of documents that are being printed, so that each is printed once, even after a crash.

Each step is written to disk before it is taken. After a crash or a lost response, the printer is queried for the job
with the attempt's token before anything is sent to it again.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailslot.plugin import Store

Step = Literal["new", "begun", "created", "sent", "printed", "failed"]
"""`new`: nothing was sent. `begun`: a job may exist. `created`: it exists, and its document may.
`sent`: the printer has confirmed the document. `printed` and `failed` are final."""

FINAL_STEPS: Final = frozenset({"printed", "failed"})


class Attempt:
    """One document that is being printed.

    Attributes:
        token: the unique beginning of its job's name.
        step: the last recorded step.
        job: the printer's job number; None before there is one.
        note: a sentence about its end.
        owner: the user in whose name the printer is queried.
    """

    def __init__(self, journal: Journal, name: str, values: Mapping[str, Any]) -> None:
        self._journal = journal
        self._name = name
        self.token: str = values.get("token") or _new_token()
        self.step: Step = values.get("step", "new")
        self.job: int | None = values.get("job")
        self.note: str = values.get("said", "")
        self.owner: str = values.get("owner", "")

    async def reach(self, step: Step, *, job: int | None = None, note: str = "") -> None:
        """Record a step; it is on disk when this returns."""
        self.step, self.note = step, note
        self.job = self.job if job is None else job
        await self._journal.record(self._name, self.as_json())

    async def restart(self) -> None:
        """Start again with another token, after the job with the old one was discarded."""
        self.token, self.step, self.job, self.note = _new_token(), "new", None, ""
        await self._journal.record(self._name, self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"token": self.token, "step": self.step, "job": self.job, "said": self.note, "owner": self.owner}


class Journal:
    """The journal of one mail.

    Args:
        store: the pipeline's store.
        key: its key, for example ``"mail:7"``.
        values: the stored values.
    """

    def __init__(self, store: Store, key: str, values: Mapping[str, Any] | None = None) -> None:
        self._store = store
        self._key = key
        self._values: dict[str, Any] = dict(values or {})

    @classmethod
    async def load(cls, store: Store, key: str) -> Journal:
        """Load the journal with this key; a new one is empty."""
        return cls(store, key, await store.get(key))

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - any JSON
        """Return a value."""
        return self._values.get(name, default)

    async def record(self, name: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Set a value; it is on disk when this returns."""
        self._values[name] = value
        await self._store.put(self._key, self._values)

    def attempt(self, name: str) -> Attempt:
        """Return the attempt for a document; a new one if there is none."""
        return Attempt(self, f"document:{name}", self._values.get(f"document:{name}", {}))

    def attempts(self, beginning: str = "") -> list[Attempt]:
        """Return the attempts for all documents whose names begin so."""
        prefix = f"document:{beginning}"
        return [self.attempt(key.removeprefix("document:")) for key in self._values if key.startswith(prefix)]

    async def retry_failed(self) -> None:
        """Forget failed documents, because a person has the mail handled again; printed ones stay printed."""
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

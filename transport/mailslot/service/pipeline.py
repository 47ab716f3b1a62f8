"""Pipelines: each handles the mail of a record, or performs other work while the service runs.

Pipelines are stateless objects, found by the entry points of the group ``mailslot.pipelines``. A pipeline stores data
in `Device.store`, and sends mail through `Device.spool`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from anyio.to_thread import run_sync

from mailslot.entry_points import OWN_DISTRIBUTION, origin_of
from mailslot.errors import InputError
from mailslot.registry import PluginGroup
from mailslot.service.retry_policy import DEFAULT, RetryPolicy
from mailslot.slots.section import PIPELINES, Section
from mailslot.slots.slot import is_account

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailslot.service.device import Device
    from mailslot.spool.incoming import Incoming

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """The mail was handled.

    Attributes:
        note: the result for people, such as ``"answered"``.
    """

    note: str = ""


@dataclass(frozen=True, slots=True)
class SetAside:
    """The mail can never be handled; its file is kept for a person.

    Attributes:
        reason: why, in one sentence.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """The mail is to be handled later, for a reason other than the mail itself, so this attempt does not count.

    Attributes:
        seconds: the minimum seconds to wait.
        why: the reason, in one sentence.
    """

    seconds: float
    why: str


Handled = Done | SetAside | Later


@dataclass(frozen=True, slots=True)
class PanelPackage:
    """Where the panel finds a pipeline's page and texts; the library itself does not use it.

    Attributes:
        name: the package with the file ``words.toml``, which contains the names of the pipeline and its settings in the
            panel's languages. If there is a page, the package also contains its templates and a module ``page`` with
            ``routes``; if there are API operations, a module ``api`` with ``operations``.
        has_page: whether there is a page; its path is ``/`` and the pipeline's name.
        icon: the name of the icon beside the link to that page, one of the panel's.
        records: further records, besides `Pipeline.polls`, whose pages link to the pipeline's settings, such as the one
            that it sends through.
        has_api: whether there are API operations.
        sends_documents: whether the panel and the API may hand over documents, which the package's module ``documents``
            then sends.
    """

    name: str
    has_page: bool = False
    icon: str = "page"
    records: tuple[str, ...] = ()
    has_api: bool = False
    sends_documents: bool = False


@runtime_checkable
class Pipeline(Protocol):
    """A plugin that handles or sends mail.

    It may also have these attributes: ``retry_policy``, a `RetryPolicy` for its jobs; ``panel``, a `PanelPackage`;
    ``polls_accounts``, True if it handles the mail of all accounts that fetch, and leaves that of accounts that devices
    fetch from to them, by returning `mailslot.service.handling.WAITS_FOR_DEVICE`; ``handles_at_once``, how many mails
    `handle` may be called for at the same time (1); ``abandon``, an asynchronous method with the parameters of `handle`
    that undoes what `handle` had begun with a mail that is set aside because it was interrupted or failed three times,
    such as a job without a document at a printer; and ``drains``, True if `run` returns within seconds after
    `Device.stopping` is set, so that the service waits for it.
    """

    @property
    def name(self) -> str:
        """Its name in jobs, logs and commands; the same as that of its entry point."""
        ...

    @property
    def section(self) -> Section | None:
        """Its section of ``mailslot.toml``; None without one."""
        ...

    @property
    def polls(self) -> str | None:
        """The record whose mail it handles, such as ``"print-pop"``; None if it handles none."""
        ...

    async def handle(self, mail: Incoming, device: Device) -> Handled:
        """Handle a mail, which is stored in the spool.

        It may be called again for the same mail if the device stopped meanwhile. To avoid doing something twice, use a
        key, such as `mailslot.spool.job.NewJob.key` with the mail's id.

        Raises:
            Exception: any; the mail is handled again later, and set aside after three attempts.
        """
        ...

    async def run(self, device: Device) -> None:
        """Perform other work until cancelled, such as watching a folder or following a schedule; or return at once.

        Raises:
            Exception: any; it is logged, and this is called again after a pause.
        """
        ...


def _is_pipeline(found: object) -> bool:
    return (
        isinstance(found, Pipeline)
        and not isinstance(found, type)
        and isinstance(found.name, str)
        and isinstance(found.section, Section | None)
        and isinstance(found.polls, str | None)
        and isinstance(_retry_policy(found), RetryPolicy)
        and isinstance(panel_package(found), PanelPackage | None)
        and isinstance(getattr(found, "handles_at_once", 1), int)
    )


def _retry_policy(pipeline: Pipeline) -> RetryPolicy:
    return getattr(pipeline, "retry_policy", DEFAULT)


def panel_package(pipeline: Pipeline) -> PanelPackage | None:
    """Return a pipeline's `PanelPackage`; None if it has none."""
    return getattr(pipeline, "panel", None)


def mails_at_once(pipeline: Pipeline) -> int:
    """Return how many mails a pipeline handles at the same time; 1 if it does not say."""
    return max(getattr(pipeline, "handles_at_once", 1), 1)


PLUGINS: Final = PluginGroup[Pipeline](PIPELINES, noun="pipeline", check=_is_pipeline)
"""The installed pipelines."""


def find_pipelines() -> list[Pipeline]:
    """Return the installed pipelines, our own first; those that cannot be loaded are logged and left out.

    This imports their modules: call it before the event loop starts, or in a thread.
    """
    loaded = PLUGINS.load_all()
    for error in loaded.errors.values():
        logger.warning("A pipeline is left out. %s (%s)", error, error.detail)
    own = {entry.name for entry in PLUGINS.entries() if origin_of(entry).name == OWN_DISTRIBUTION}
    return [loaded.plugins[name] for name in sorted(loaded.plugins, key=lambda name: (name not in own, name))]


def pollers(pipelines: Iterable[Pipeline]) -> dict[str, Pipeline]:
    """Return the pipeline that handles the mail of each polled record; if there are several, the last.

    So a third party's pipeline replaces ours.
    """
    found: dict[str, Pipeline] = {}
    for pipeline in pipelines:
        if pipeline.polls is not None:
            if pipeline.polls in found:
                before = found[pipeline.polls].name
                logger.info("The mail of %s goes to %s, and not to %s", pipeline.polls, pipeline.name, before)
            found[pipeline.polls] = pipeline
    return found


def account_poller(pipelines: Iterable[Pipeline]) -> Pipeline | None:
    """Return the pipeline that handles the mail of accounts; if there are several, the last; None if there is none."""
    return next((each for each in reversed(list(pipelines)) if getattr(each, "polls_accounts", False) is True), None)


def poller_of(pipelines: Iterable[Pipeline], record: str) -> Pipeline | None:
    """Return the pipeline that handles the mail of a record; None if there is none."""
    found = list(pipelines)
    return account_poller(found) if is_account(record) else pollers(found).get(record)


class RetryPolicies:
    """The retry policies of the installed pipelines; each is looked up once."""

    def __init__(self) -> None:
        self._known: dict[str, RetryPolicy] = {}

    async def of(self, pipeline: str) -> RetryPolicy:
        """Return the retry policy of a pipeline's jobs; `DEFAULT` if it has none, or cannot be loaded any more."""
        if pipeline not in self._known:
            self._known[pipeline] = await run_sync(_find_retry_policy, pipeline)
        return self._known[pipeline]


def _find_retry_policy(pipeline: str) -> RetryPolicy:
    try:
        return _retry_policy(PLUGINS.find(pipeline))
    except InputError:
        return DEFAULT

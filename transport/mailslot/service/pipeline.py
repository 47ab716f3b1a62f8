"""Pipelines: each handles the mail of one record, or works beside that while the service runs.

Pipelines are found by entry point in the group ``mailslot.pipelines``, each an object without state. What a pipeline
has to remember goes into `Device.store`, and what it sends into `Device.spool`.
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
    """The mail is handled for good.

    Attributes:
        note: what was made of it, for people; such as ``"answered"``.
    """

    note: str = ""


@dataclass(frozen=True, slots=True)
class SetAside:
    """The mail cannot be handled, now or later; its file is kept for a person.

    Attributes:
        reason: why, in one sentence.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """The mail is to be handled later, for a reason outside of it, so that this does not count as a try.

    Attributes:
        seconds: not before so many have passed.
        why: what it waits for, in one sentence.
    """

    seconds: float
    why: str


Handled = Done | SetAside | Later


@dataclass(frozen=True, slots=True)
class PanelPackage:
    """Where the panel finds a pipeline's page and texts. The library itself reads nothing of it.

    Attributes:
        name: a package with the file ``words.toml``: what the pipeline and its settings are called in the panel's
            languages. With a page, its templates are there as well, and a module ``page`` with ``routes``; with API
            operations, a module ``api`` with ``operations``.
        has_page: whether there is a page, at ``/NAME`` of the pipeline.
        icon: the picture beside the link to that page, one of the panel's own.
        records: records besides `Pipeline.polls` whose pages link to the settings, such as the one it sends through.
        has_api: whether there are operations for the API.
    """

    name: str
    has_page: bool = False
    icon: str = "page"
    records: tuple[str, ...] = ()
    has_api: bool = False


@runtime_checkable
class Pipeline(Protocol):
    """A plugin that handles mail, or sends some.

    It may have more attributes: ``retry_policy``, a `RetryPolicy` for its jobs; ``panel``, a `PanelPackage`;
    ``polls_accounts``, True where it handles the mail of all accounts that fetch; and ``drains``, True where `run`
    returns by itself within seconds of `Device.stopping`, so that the service waits for it.
    """

    @property
    def name(self) -> str:
        """Its name in jobs, logs and commands; the same as its entry point's."""
        ...

    @property
    def section(self) -> Section | None:
        """Its table of ``mailslot.toml``; None without one."""
        ...

    @property
    def polls(self) -> str | None:
        """The record whose mail it handles, such as ``"print-pop"``; None for none."""
        ...

    async def handle(self, mail: Incoming, device: Device) -> Handled:
        """Handle a mail that is safe in the spool.

        It may be called again for the same mail where the device stopped in the middle: what must not happen twice
        is kept from it by a key, such as `mailslot.spool.job.NewJob.key` with the mail's number.

        Raises:
            Exception: anything; the mail is tried again later, and set aside after three tries.
        """
        ...

    async def run(self, device: Device) -> None:
        """Work beside the polling until cancelled, such as on a watched folder or a schedule; or return at once.

        Raises:
            Exception: anything; it is logged, and this is called again after a pause.
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
    )


def _retry_policy(pipeline: Pipeline) -> RetryPolicy:
    return getattr(pipeline, "retry_policy", DEFAULT)


def panel_package(pipeline: Pipeline) -> PanelPackage | None:
    """Return a pipeline's `PanelPackage`; None where it has none."""
    return getattr(pipeline, "panel", None)


PLUGINS: Final = PluginGroup[Pipeline](PIPELINES, noun="pipeline", check=_is_pipeline)
"""The pipelines that are installed."""


def find_pipelines() -> list[Pipeline]:
    """Return the pipelines that are installed, our own first; the log says which cannot be loaded, and is left out.

    Their modules are imported: call it before there is an event loop, or in a thread.
    """
    loaded = PLUGINS.load_all()
    for error in loaded.errors.values():
        logger.warning("A pipeline is left out. %s (%s)", error, error.detail)
    own = {entry.name for entry in PLUGINS.entries() if origin_of(entry).name == OWN_DISTRIBUTION}
    return [loaded.plugins[name] for name in sorted(loaded.plugins, key=lambda name: (name not in own, name))]


def pollers(pipelines: Iterable[Pipeline]) -> dict[str, Pipeline]:
    """Return for each polled record the pipeline that handles its mail: of several, the last.

    So a third party's pipeline takes the place of ours, which is why they install it.
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
    """Return the pipeline that handles the mail of accounts: of several, the last; None where there is none."""
    return next((each for each in reversed(list(pipelines)) if getattr(each, "polls_accounts", False) is True), None)


def poller_of(pipelines: Iterable[Pipeline], record: str) -> Pipeline | None:
    """Return the pipeline that handles the mail of a record; None where there is none."""
    found = list(pipelines)
    return account_poller(found) if is_account(record) else pollers(found).get(record)


class RetryPolicies:
    """The retry policies of the pipelines that are installed, each looked up once."""

    def __init__(self) -> None:
        self._known: dict[str, RetryPolicy] = {}

    async def of(self, pipeline: str) -> RetryPolicy:
        """Return the policy of a pipeline's jobs; `DEFAULT` where it brings none, or cannot be loaded any more."""
        if pipeline not in self._known:
            self._known[pipeline] = await run_sync(_find_retry_policy, pipeline)
        return self._known[pipeline]


def _find_retry_policy(pipeline: str) -> RetryPolicy:
    try:
        return _retry_policy(PLUGINS.find(pipeline))
    except InputError:
        return DEFAULT

"""Counting what a piece of code costs: its calls and its system calls, which do not depend on the machine."""

from __future__ import annotations

import select
import socket
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType
    from typing import Self

WAITS = {"poll", "select", "control"}
"""The system calls by which an event loop waits."""


class Costs:
    """The calls of this thread while the context is open.

    Attributes:
        calls: calls of functions in Python and of built-in ones.
        system_calls: those on sockets and selectors, by name.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.system_calls: Counter[str] = Counter()

    @property
    def waits(self) -> int:
        """How often the event loop asked whether something has come."""
        return sum(self.system_calls[name] for name in WAITS)

    def __enter__(self) -> Self:
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, _: FrameType, event: str, called: Any) -> None:
        if event not in {"call", "c_call"}:
            return
        self.calls += 1
        owner = getattr(called, "__self__", None)
        if event == "c_call" and isinstance(owner, (socket.socket, _EPOLL)):
            self.system_calls[called.__name__] += 1


_EPOLL: type[Any] = getattr(select, "epoll", type(None))

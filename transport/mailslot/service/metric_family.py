"""Metrics in the text format of Prometheus (version 0.0.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Family:
    """One metric and its samples.

    Attributes:
        name: its name, without ``mailslot_``.
        kind: ``gauge`` or ``counter``.
        help: what it says, in one sentence.
        samples: labels and value of each.
    """

    name: str
    kind: str
    help: str
    samples: list[tuple[dict[str, str], float]] = field(default_factory=list[tuple[dict[str, str], float]])

    def add(self, value: float | bool, **labels: str) -> None:  # noqa: FBT001 - a sample is a number
        """Add a sample."""
        self.samples.append((labels, float(value)))

    def lines(self) -> list[str]:
        """Return the lines of this metric."""
        found = [f"# HELP mailslot_{self.name} {self.help}", f"# TYPE mailslot_{self.name} {self.kind}"]
        for labels, value in self.samples:
            label_text = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            found.append(
                f"mailslot_{self.name}{{{label_text}}} {_number(value)}"
                if label_text
                else f"mailslot_{self.name} {_number(value)}"
            )
        return found


def as_text(families: Iterable[Family]) -> str:
    """Return metrics as text; those without a sample are left out."""
    return "".join(f"{line}\n" for family in families if family.samples for line in family.lines())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else f"{value:.3f}"

"""The explanations of ``mailslot token get`` about the chosen flow and the other flows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from rich.console import Console

    from mailslot.slots.settings import Settings


FLOW_TITLES: Final[Mapping[str, str]] = {
    "browser": "Sign in with this browser",
    "device": "Enter a code on another device",
    "paste": "Sign in on another machine and paste the address",
    "app": "The application signs in by itself",
}
"""The names of the flows, as on the panel; a test compares them."""


def print_flow_choice(
    console: Console, settings: Settings, flow: str, *, named: bool, blocked: Collection[str], confidential: bool
) -> None:
    """Print the drawbacks of a flow, and the other flows.

    Args:
        console: where to print.
        settings: the settings of the record.
        flow: the name of the flow that is used.
        named: whether a person has chosen it explicitly.
        blocked: flows that the organisation has blocked.
        confidential: whether the application has a secret or certificate.
    """
    from mailslot.slots.flows import APP_FLOWS, offered_flows, provider_of  # noqa: PLC0415 - loads the providers

    provider = provider_of(settings).at_tenant(settings.tenant)
    if flow in blocked:
        console.print(f"[yellow]Warning:[/yellow] your organisation has blocked the flow {flow}; this may be refused.")
    elif blocked:
        console.print(f"Your organisation has blocked the flow {', '.join(blocked)}, so the flow {flow} is used.")
    elif flow in provider.quirks.blockable_flows:
        console.print(
            f"[yellow]Warning:[/yellow] many organisations block the flow {flow}. A token obtained by it can then no "
            "longer be renewed; use another flow if you can."
        )
    offered = offered_flows(provider, settings, confidential=confidential, blocked=blocked)
    others = ["app" if name in APP_FLOWS else name for name in offered if name != flow]
    if others and (not named or flow in blocked):
        console.print("Other ways to sign in:")
        for name in others:
            title = FLOW_TITLES.get(name, "")
            console.print(f"  --flow {name:<10}{title}".rstrip(), highlight=False, soft_wrap=True)

"""What ``mailslot token get`` prints about the flow that it uses, and the other ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from rich.console import Console

    from mailslot.slots.settings import Settings


def print_flow_choice(
    console: Console, settings: Settings, flow: str, *, named: bool, blocked: Collection[str], confidential: bool
) -> None:
    """Print what speaks against a flow, and which other ones there are.

    Args:
        console: where to print.
        settings: the settings of the record.
        flow: the name of the flow that is used.
        named: whether a person has named it.
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
        console.print(f"Other ways to sign in: {', '.join(f'--flow {name}' for name in others)}", highlight=False)

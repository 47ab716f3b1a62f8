"""Which flows are offered, in which order, and which one is used where nobody names one."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from mailslot.cli.flow_choice import print_flow_choice
from mailslot.oauth.presets import preset
from mailslot.slots.flows import flow_name, offered_flows
from mailslot.slots.settings import Settings

MICROSOFT = Settings(provider="microsoft365", tenant="contoso.example")
DEVICE = ("device",)


@pytest.mark.parametrize(
    ("provider", "offered"),
    [
        ("microsoft365", ("browser", "paste", "app", "device")),
        ("microsoft365-us", ("browser", "paste", "app", "device")),
        ("microsoft365-china", ("browser", "paste", "app", "device")),
        ("outlook", ("browser", "paste", "device")),
        ("google", ("browser", "paste", "service_account")),
    ],
)
def test_the_most_durable_flow_comes_first(provider: str, offered: tuple[str, ...]) -> None:
    settings = Settings(provider=provider, tenant="contoso.example" if provider.startswith("microsoft") else None)
    at = preset(provider).at_tenant(settings.tenant)
    assert offered_flows(at, settings, confidential=True) == offered
    assert flow_name(settings) == "browser"
    without = tuple(flow for flow in offered if flow not in {"app", "service_account"})
    assert offered_flows(at, settings, confidential=False) == without
    assert offered_flows(at, settings, confidential=False, blocked=DEVICE) == without[:2]


def test_an_application_cannot_sign_in_as_itself_in_a_shared_tenant() -> None:
    offered = offered_flows(
        preset("microsoft365").at_tenant(None), Settings(provider="microsoft365"), confidential=True
    )
    assert offered == ("browser", "paste", "device")


def test_a_flow_in_the_settings_comes_first_unless_it_is_blocked() -> None:
    by_device = Settings(provider="microsoft365", flow="device")
    at = preset("microsoft365").at_tenant(None)
    assert offered_flows(at, by_device, confidential=False) == ("device", "browser", "paste")
    assert flow_name(by_device) == "device"
    assert flow_name(by_device, blocked=DEVICE) == "browser"
    # Whoever names it gets it.
    assert flow_name(by_device, "device", DEVICE) == "device"


def test_without_an_authorization_endpoint_only_app_is_offered() -> None:
    endpoints = {
        "token_endpoint": "https://id.example/token",
        "device_authorization_endpoint": "https://id.example/device",
    }
    only = Settings(provider="custom", flow="device", **endpoints)  # type: ignore[arg-type] - texts
    assert flow_name(only, blocked=DEVICE) == "app"
    assert flow_name(Settings(provider="google", flow="app")) == "service_account"


def printed(flow: str, *, named: bool = False, blocked: tuple[str, ...] = (), confidential: bool = False) -> str:
    console = Console(file=io.StringIO(), width=300)
    print_flow_choice(console, MICROSOFT, flow, named=named, blocked=blocked, confidential=confidential)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def offered(output: str) -> list[str]:
    """The other flows that the command names."""
    return re.findall(r"^  --flow (\w+)", output.partition("Other ways to sign in:\n")[2], re.MULTILINE)


def test_the_command_warns_of_a_flow_that_may_be_blocked() -> None:
    assert "Warning: many organisations block the flow device" in printed("device", named=True)
    assert "Warning" not in printed("browser")
    assert offered(printed("browser")) == ["paste", "device"]
    assert offered(printed("browser", confidential=True)) == ["paste", "app", "device"]
    assert "  --flow device    Enter a code on another device\n" in printed("browser")
    assert printed("paste", named=True) == ""


def test_the_command_does_not_offer_blocked_flows() -> None:
    output = printed("browser", blocked=DEVICE)
    assert "blocked the flow device, so the flow browser is used" in output
    assert offered(output) == ["paste"]
    output = printed("device", named=True, blocked=DEVICE)
    assert "Warning: your organisation has blocked the flow device" in output
    assert offered(output) == ["browser", "paste"]

"""``/gateway``: the pages of the gateway."""

from __future__ import annotations

from mailslot_plugins.gateway.panel import accounts, device, devices, listeners
from mailslot_plugins.gateway.panel.attention import attention

routes = [*devices.routes, *device.routes, *listeners.routes, *accounts.routes]

__all__ = ["attention", "routes"]

"""Arguments and options of several commands of ``mailslot fleet``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

DeviceName = Annotated[str, typer.Argument(metavar="TENANT/DEVICE", help="The device.")]
TenantName = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant.")]
TenantOrDevice = Annotated[
    str, typer.Argument(metavar="TENANT[/DEVICE]", help="A device, or a tenant for all its devices.")
]
OfTenant = Annotated[str | None, typer.Option("--tenant", help="Only the devices of this tenant.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Log = Annotated[
    Literal["json", "plain"] | None, typer.Option("--log", help="How to log; plain on a terminal, else JSON lines.")
]

"""The options of ``mailslot device add`` and ``mailslot device adopt``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from mailslot.cli.console import print_error
from mailslot.cli.home import read_values
from mailslot.errors import InputError
from mailslot.slots.gateway.device_entry import parse_certificate
from mailslot.wire.secret import Secret

_MAX_OCTETS: Final = 32 * 1024

DeviceName = Annotated[str, typer.Argument(metavar="NAME", help="The device's name, such as copier-2nd-floor.")]
Addresses = Annotated[
    list[str] | None,
    typer.Option("--address", metavar="ADDRESS[/PREFIX]", help="Where it may come from; may be repeated."),
]
User = Annotated[str | None, typer.Option("--user", help="The user that it signs in as.")]
Password = Annotated[
    str | None,
    typer.Option("--password", metavar="VALUE|-", help="Its password; - reads it; without this, one is made."),
]
Apop = Annotated[bool, typer.Option("--apop", help="Keep the password recoverable, as APOP needs it.")]
Certificates = Annotated[
    list[Path] | None,
    typer.Option("--certificate", metavar="FILE", help="The certificate that it shows, in PEM; may be repeated."),
]
ListenerOption = Annotated[str | None, typer.Option("--listener", help="The only listener that it may use.")]
Via = Annotated[
    str | None,
    typer.Option("--via", metavar="SLOT", help="What it sends through, or fetches from; network.smtp without this."),
]
Sender = Annotated[
    str | None,
    typer.Option("--sender", metavar="account|keep|ADDRESS", help="What becomes of its sender; account without this."),
]
From = Annotated[
    list[str] | None,
    typer.Option("--from", metavar="PATTERN", help="The senders that it may name: an address, *@domain or *."),
]
To = Annotated[
    list[str] | None,
    typer.Option(
        "--to",
        metavar="PATTERN",
        help="The recipients that it may send to: an address, *@domain or *; without this, those in the domain of the "
        "sending account.",
    ),
]
Limits = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="N/minute", help="How much it may send: per second, minute, hour or day."),
]
Size = Annotated[int | None, typer.Option("--size", metavar="BYTES", help="How large a message may be.")]
Notify = Annotated[
    str | None, typer.Option("--notify", metavar="ADDRESS", help="Who is told of what could not be delivered.")
]


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """The options that were given for a device.

    Attributes:
        values: the values of its table; None for options that were not given.
        password: the chosen password; None to generate one.
        recoverable: whether the password must stay recoverable.
    """

    values: dict[str, Any]
    password: Secret | None
    recoverable: bool


GivenOptions = partial[DeviceOptions]
"""`read_options` with the options of a command."""


def read_options(
    *,
    address: Addresses = None,
    user: User = None,
    password: Password = None,
    apop: Apop = False,
    certificate: Certificates = None,
    listener: ListenerOption = None,
    via: Via = None,
    sender: Sender = None,
    from_: From = None,
    to: To = None,
    limit: Limits = None,
    size: Size = None,
    notify: Notify = None,
) -> DeviceOptions:
    """Return the given options. The parameters are the options of the commands; see `takes_device_options`.

    Raises:
        InputError: a file holds no certificate, or the password is empty.
    """
    values: dict[str, Any] = {
        "address": address or None,
        "user": user,
        "certificate": [read_certificate(path) for path in certificate or ()] or None,
        "listener": listener,
        "via": via,
        "sender": sender,
        "from": from_ or None,
        "to": to or None,
        "limit": limit or None,
        "size": size,
        "notify": notify,
    }
    return DeviceOptions(values, read_password(password), apop)


def takes_device_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a device, except those that are its own parameters.

    Args:
        command: gets ``given``, a function without parameters that returns the given options.
    """
    own, known = (signature(each, eval_str=True).parameters for each in (command, read_options))
    options = {name: each for name, each in known.items() if name not in own}

    @wraps(command)
    def run(**arguments: Any) -> None:  # noqa: ANN401 - typer has converted them
        given = {name: arguments.pop(name) for name in options}
        command(**arguments, given=partial(read_options, **given))

    arguments = [each for each in own.values() if each.kind is not Parameter.KEYWORD_ONLY]
    last = [each for name, each in own.items() if each.kind is Parameter.KEYWORD_ONLY and name != "given"]
    vars(run)["__signature__"] = Signature([*arguments, *options.values(), *last])
    return run


def read_password(given: str | None) -> Secret | None:
    """Return a password from the command line or standard input; None if none was given.

    Raises:
        InputError: the password is empty.
    """
    if given is None:
        return None
    [text] = read_values([given])
    if not text:
        raise InputError("No password was entered; without --password, one is made.", stage="resolve", key="password")
    if given != "-":
        print_error(
            "The shell remembers what was typed, and other users can see it in the list of processes. Better: "
            "--password -, which asks for it or reads standard input."
        )
    return Secret(text)


def read_certificate(path: Path) -> str:
    """Return the first certificate in a file.

    Raises:
        InputError: the file cannot be read, or holds no certificate.
    """
    try:
        with path.open("rb") as file:
            return parse_certificate(file.read(_MAX_OCTETS).decode("ascii", "replace"))
    except OSError as error:
        raise InputError(f"{path} cannot be used: {error.strerror}.", stage="resolve", key="certificate") from None
    except ValueError:
        raise InputError(
            f"{path} cannot be used: it holds no certificate in PEM.", stage="resolve", key="certificate"
        ) from None

"""How an application proves to a token endpoint who it is (RFC 6749 section 2.3; RFC 7523 section 2.2)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus

from mailslot.errors import InputError
from mailslot.wire.secret import Secret

if TYPE_CHECKING:
    from mailslot.oauth.client import Client

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a request bears so that the token service knows who asks.

    Attributes:
        form: members of the form.
        authorization: the ``Authorization`` header; None where there is none.
        secret: what is hidden in the header; None where there is none.
    """

    form: dict[str, str | Secret]
    authorization: Secret | None = None
    secret: Secret | None = None


def prove(client: Client, url: str, *, now: float) -> Proof:
    """Return the proof: by certificate, else by secret, else just the client's name (RFC 6749 section 3.2.1).

    Args:
        client: who asks.
        url: the endpoint, which an assertion is for.
        now: the token service's time, in seconds since the epoch.

    Raises:
        InputError: the certificate or its key cannot be used, or there is no secret where the provider wants one.
    """
    if client.certificate is not None:
        from mailslot.oauth.certificate import client_assertion  # noqa: PLC0415 - 40 ms, and few have a certificate

        return Proof(
            {
                "client_id": client.client_id,
                "client_assertion_type": _ASSERTION_TYPE,
                "client_assertion": client_assertion(client, client.certificate, url, now=now),
            }
        )
    if not client.client_secret:
        if client.client_id and client.provider.quirks.secret_required:
            raise InputError(
                f"{client.provider.name} wants the application's secret besides its id: set client_secret.",
                stage="token",
                cause="app_secret_invalid",
            )
        return Proof({"client_id": client.client_id})
    if client.provider.quirks.client_authentication == "client_secret_post":
        return Proof({"client_id": client.client_id, "client_secret": client.client_secret})
    # Each half is form-encoded first (RFC 6749 section 2.3.1): without that a colon or a percent sign breaks it.
    pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret.reveal())}"
    return Proof({}, Secret("Basic " + base64.b64encode(pair.encode()).decode()), client.client_secret)

"""Errors of the HTTP exchange with a token service: why no response came."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final, cast

import httpx2

from mailslot.oauth.token_error_table import Remedy
from mailslot.oauth.token_errors import TokenServiceError, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailslot.wire.redact import Redactor

# These occur before the request is sent, so the service cannot have acted on it.
_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
    httpx2.InvalidURL,
)

# The sentence for an exception, or one that caused it; the first match counts.
_SENTENCES: Final[tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...]] = (
    (
        (socket.gaierror, UnicodeError),
        "The {service} was not found: the name service knows no address for it.",
    ),
    (ssl.SSLError, "Encryption with the {service} could not be agreed upon."),
    (ConnectionRefusedError, "The {service} refuses connections."),
    (httpx2.ProxyError, "The proxy on the way to the {service} refused."),
    ((httpx2.ConnectTimeout, httpx2.PoolTimeout), "The {service} did not answer in time."),
    ((httpx2.TimeoutException, TimeoutError), "The {service} fell silent."),
    (httpx2.RemoteProtocolError, "The {service} broke the connection off, or does not speak HTTP."),
    (httpx2.ConnectError, "The {service} could not be reached over the network."),
)

_NOT_YET_VALID, _EXPIRED = 9, 10  # OpenSSL's verification results


def transport_error(error: Exception, host: str) -> TokenServiceError:
    """Return the error for an exception of the HTTP client."""
    cause, sentence, detail = explain(error, f"token service {host}")
    return TokenServiceError(
        sentence,
        cause=cause,
        remedy=Remedy.WAIT,
        detail=detail,
        response_lost=not isinstance(error, _UNSENT),
    )


def mask(error: Exception, redactor: Redactor) -> None:
    """Mask secrets in the texts of an exception and of those that caused it: they quote what is not HTTP."""
    for each in _error_chain(error):
        each.args = tuple(redactor.mask(value) if isinstance(value, str) else value for value in each.args)


def explain(error: Exception, service: str) -> tuple[str, str, str]:
    """Return the cause, the sentence and the detail for an exception of the HTTP client.

    Args:
        error: the exception.
        service: what did not answer, such as ``"token service login.example.com"``.
    """
    roots = list(_error_chain(error))
    for root in roots:
        if isinstance(root, ssl.SSLCertVerificationError):
            return _certificate_error(root, service)
    for kind, sentence in _SENTENCES:
        for root in roots:
            if isinstance(root, kind):
                return (
                    "token_service_unreachable",
                    sentence.format(service=service),
                    shorten(f"{type(root).__name__}: {root}"),
                )
    return "token_service_unreachable", f"The connection to the {service} was lost.", shorten(repr(error))


def _certificate_error(error: ssl.SSLCertVerificationError, service: str) -> tuple[str, str, str]:
    detail = f"{shorten(error.verify_message)} (verification result {error.verify_code})"
    if error.verify_code == _NOT_YET_VALID:
        return (
            "clock_wrong",
            f"By this device's clock the certificate of the {service} is not valid yet: the clock is wrong.",
            detail,
        )
    why = "has expired, or this device's clock is wrong" if error.verify_code == _EXPIRED else "is not trusted"
    return "token_service_unreachable", f"The certificate of the {service} {why}.", detail


def _error_chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it, outermost first; several connections may have failed at once."""
    count = 0
    waiting = [error]
    while waiting and count < 64:
        error = waiting.pop(0)
        if error is None:
            continue
        count += 1
        yield error
        waiting.append(error.__cause__ or error.__context__)
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(cast("BaseExceptionGroup[BaseException]", error).exceptions)

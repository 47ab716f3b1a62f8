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
        "The token service {host} was not found: the name service knows no address for it.",
    ),
    (ssl.SSLError, "Encryption with the token service {host} could not be agreed upon."),
    (ConnectionRefusedError, "The token service {host} refuses connections."),
    (httpx2.ProxyError, "The proxy on the way to the token service {host} refused."),
    ((httpx2.ConnectTimeout, httpx2.PoolTimeout), "The token service {host} did not answer in time."),
    ((httpx2.TimeoutException, TimeoutError), "The token service {host} fell silent."),
    (httpx2.RemoteProtocolError, "The token service {host} broke the connection off, or does not speak HTTP."),
    (httpx2.ConnectError, "The token service {host} could not be reached over the network."),
)

_NOT_YET_VALID, _EXPIRED = 9, 10  # OpenSSL's verification results


def transport_error(error: Exception, host: str) -> TokenServiceError:
    """Return the error for an exception of the HTTP client."""
    cause, sentence, detail = _explain(error, host)
    return TokenServiceError(
        sentence,
        cause=cause,
        remedy=Remedy.WAIT,
        detail=detail,
        response_lost=not isinstance(error, _UNSENT),
    )


def _explain(error: Exception, host: str) -> tuple[str, str, str]:
    roots = list(_error_chain(error))
    for root in roots:
        if isinstance(root, ssl.SSLCertVerificationError):
            return _certificate_error(root, host)
    for kind, sentence in _SENTENCES:
        for root in roots:
            if isinstance(root, kind):
                return (
                    "token_service_unreachable",
                    sentence.format(host=host),
                    shorten(f"{type(root).__name__}: {root}"),
                )
    return "token_service_unreachable", f"The connection to the token service {host} was lost.", shorten(repr(error))


def _certificate_error(error: ssl.SSLCertVerificationError, host: str) -> tuple[str, str, str]:
    detail = f"{shorten(error.verify_message)} (verification result {error.verify_code})"
    if error.verify_code == _NOT_YET_VALID:
        return (
            "clock_wrong",
            f"By this device's clock the certificate of the token service {host} is not valid yet: the clock is wrong.",
            detail,
        )
    why = "has expired, or this device's clock is wrong" if error.verify_code == _EXPIRED else "is not trusted"
    return "token_service_unreachable", f"The certificate of the token service {host} {why}.", detail


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

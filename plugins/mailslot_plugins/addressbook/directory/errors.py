"""The errors of a directory: one sentence for each case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mailslot.net.endpoint import format_seconds
from mailslot.wire.protocol_error import RemoteProtocolError
from mailslot_plugins.addressbook.directory.directory_error import DirectoryError

if TYPE_CHECKING:
    from mailslot.errors import InputError, NetworkError, Stage
    from mailslot_plugins.addressbook.directory.results import Result
    from mailslot_plugins.addressbook.directory.source import Source

# Result codes (RFC 4511 appendix A.1).
SUCCESS: Final = 0
TIME_LIMIT_EXCEEDED: Final = 3
SIZE_LIMIT_EXCEEDED: Final = 4
ADMIN_LIMIT_EXCEEDED: Final = 11
LIMITS: Final = frozenset({TIME_LIMIT_EXCEEDED, SIZE_LIMIT_EXCEEDED, ADMIN_LIMIT_EXCEEDED})
"""The server has more entries than it returned."""

_OPERATIONS_ERROR: Final = 1
_REFERRAL: Final = 10
_NO_SUCH_OBJECT: Final = 32
_INVALID_DN_SYNTAX: Final = 34
_INAPPROPRIATE_AUTHENTICATION: Final = 48
_INVALID_CREDENTIALS: Final = 49
_INSUFFICIENT_ACCESS_RIGHTS: Final = 50
_STRONGER_AUTHENTICATION_REQUIRED: Final = 8
_FILTER_ERRORS: Final = frozenset({2, 16, 17, 18, 21})
_BUSY: Final = frozenset({51, 52})

_REACHED: Final = {
    "name_not_found": "The name service knows no address for the directory {host}.",
    "connection_refused": "The directory {host} refused the connection on port {port}.",
    "connection_timeout": "The directory {host} did not answer within {span}.",
    "network_unreachable": "The directory {host} cannot be reached over the network.",
    "tls_port_mismatch": "Port {port} of the directory {host} does not begin with encryption.",
    "tls_failed": "Encryption with the directory {host} could not be agreed upon.",
    "certificate_expired": "The certificate of the directory {host} has expired.",
    "certificate_not_yet_valid": "The certificate of the directory {host} is not valid yet.",
    "certificate_name_mismatch": "The certificate of the directory {host} was issued for another name.",
    "certificate_untrusted": "The certificate of the directory {host} is not trusted.",
}
"""The sentence for each cause of a `NetworkError`."""


def connection_error(source: Source, error: NetworkError) -> DirectoryError:
    """Return the error for a connection that could not be made."""
    return _error(
        source,
        _REACHED.get(error.cause, "The directory {host} could not be connected to."),
        stage=error.stage,
        cause=error.cause,
        retryable=error.retryable,
        detail=error.detail,
    )


def silent_error(source: Source) -> DirectoryError:
    """Return the error for a directory that has not answered in time."""
    return _error(source, _REACHED["connection_timeout"], cause="connection_timeout", retryable=True)


def lost_error(source: Source, error: Exception) -> DirectoryError:
    """Return the error for a connection that broke."""
    sentence = "The directory {host} closed the connection."
    return _error(source, sentence, cause="connection_lost", retryable=True, detail=repr(error))


def protocol_error(source: Source, error: Exception) -> DirectoryError:
    """Return the error for something that is not LDAP, or that nobody should have sent."""
    if isinstance(error, RemoteProtocolError) and error.cause == "tls_injection":
        sentence = "Somebody between this device and the directory {host} inserted data before encryption began."
        return _error(source, sentence, stage="tls", cause=error.cause, detail=str(error))
    sentence = "What answers on port {port} of {host} is not a directory."
    return _error(source, sentence, cause="protocol_error", detail=str(error))


def tls_refused_error(source: Source, result: Result) -> DirectoryError:
    """Return the error for a directory without StartTLS."""
    sentence = "The directory {host} offers no STARTTLS on port {port}."
    return _error(source, sentence, stage="tls", cause="tls_not_offered", detail=_detail(result))


def bind_error(source: Source, result: Result) -> DirectoryError:
    """Return the error for a directory that does not let us sign in."""
    if result.code in _BUSY:
        return _busy_error(source, result)
    if result.code in {_INVALID_CREDENTIALS, _NO_SUCH_OBJECT, _INVALID_DN_SYNTAX}:
        sentence, cause = "The directory {host} refused the user {user} or the password.", "password_refused"
    else:
        sentence, cause = "The directory {host} does not let the user {user} sign in.", "sign_in_method_not_offered"
    return _error(source, sentence, stage="sign_in", cause=cause, detail=_detail(result))


def search_error(source: Source, result: Result) -> DirectoryError:
    """Return the error for a search that failed."""
    if result.code in _BUSY:
        return _busy_error(source, result)
    if result.code in LIMITS:
        sentence, cause = "The search in the directory {host} exceeds the directory's limits.", "try_again_later"
    elif result.code in {_NO_SUCH_OBJECT, _REFERRAL} and not source.user:
        sentence = "The directory {host} does not have {base}, or shows it only to users who sign in."
        cause = "not_configured"
    elif result.code in {_NO_SUCH_OBJECT, _REFERRAL}:
        sentence, cause = "The directory {host} does not have {base}, or does not show it.", "not_configured"
    elif result.code == _INVALID_DN_SYNTAX:
        sentence, cause = "{base} is not a valid name for the directory {host}.", "not_configured"
    elif result.code in _FILTER_ERRORS:
        sentence, cause = "The directory {host} cannot use the filter {filter}.", "not_configured"
    elif not source.user and result.code in {
        _OPERATIONS_ERROR,  # of Active Directory
        _STRONGER_AUTHENTICATION_REQUIRED,
        _INAPPROPRIATE_AUTHENTICATION,
        _INSUFFICIENT_ACCESS_RIGHTS,
    }:
        sentence, cause = "The directory {host} shows nothing without a user and a password.", "authentication_required"
    elif result.code == _INSUFFICIENT_ACCESS_RIGHTS:
        sentence, cause = "The directory {host} does not let the user {user} search.", "authentication_required"
    else:
        sentence, cause = "The directory {host} could not search.", "unknown"
    return _error(source, sentence, cause=cause, detail=_detail(result))


def filter_error(source: Source, error: ValueError) -> DirectoryError:
    """Return the error for a filter in the settings that is not an LDAP filter."""
    return _error(source, "{filter} is not a filter for a directory.", cause="not_configured", detail=str(error))


def settings_error(error: InputError) -> DirectoryError:
    """Return the error for a setting that cannot be used."""
    return DirectoryError(str(error), stage=error.stage, cause=error.cause, detail=error.detail)


def no_password_error(source: Source) -> DirectoryError:
    """Return the error for a user without a password."""
    sentence = "No password is stored for the user {user} of the directory {host}."
    return _error(source, sentence, stage="sign_in", cause="not_configured")


def missing_package_error(source: Source) -> DirectoryError:
    """Return the error for a device without the package that speaks LDAP."""
    return _error(source, "The directory {host} needs the extra ldap of mailslot.", cause="not_configured")


def _busy_error(source: Source, result: Result) -> DirectoryError:
    sentence = "The directory {host} is busy."
    return _error(source, sentence, cause="try_again_later", retryable=True, detail=_detail(result))


def _detail(result: Result) -> str:
    return f"result {result.code}: {result.text}"[:500]


def _error(
    source: Source,
    sentence: str,
    *,
    stage: Stage = "envelope",
    cause: str,
    retryable: bool = False,
    detail: str = "",
) -> DirectoryError:
    facts = {
        "host": source.endpoint.host,
        "port": source.endpoint.port,
        "span": format_seconds(source.timeout),
        "user": source.user,
        "base": source.base,
        "filter": source.schema.filter,
    }
    return DirectoryError(sentence.format(**facts), stage=stage, cause=cause, retryable=retryable, detail=detail)

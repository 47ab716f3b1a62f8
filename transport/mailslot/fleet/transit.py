"""Master keys in OpenBao's transit secrets engine, or HashiCorp Vault's, whose API is the same.

A wrapped key is bound to its tenant by associated data. The API's ``rewrap`` cannot be used, since it has no parameter
for associated data; a data key is wrapped again by ``decrypt`` and ``encrypt``.

Sources: https://openbao.org/api-docs/secret/transit, https://openbao.org/api-docs (status codes); OpenBao's
builtin/logical/transit, for the words of its errors; hashicorp/vault issues 29532 and 31791, on ``rewrap``.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final, Literal, cast

from mailslot.errors import InputError
from mailslot.fleet.key_service import Answer, KeyServiceClient, KeyServiceError
from mailslot.fleet.master_key import WrappedKey
from mailslot.oauth.endpoint_url import check_endpoint_url, host_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_ADDRESS: Final = re.compile(
    r"(?P<api>https?://[^/?#]+/v1/)(?P<mount>[\w./-]+)/keys/(?P<name>\w(?:[\w.-]*\w)?)", re.ASCII
)
_CIPHERTEXT: Final = re.compile(rb"[\w-]{1,32}:v(?P<version>[0-9]{1,9}):[A-Za-z0-9+/=]{1,1024}")

_BINDING: Final = frozenset({"aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"})
"""The types of keys that support associated data."""


class TransitMasterKey:
    """A key of a transit secrets engine; its newest version wraps, and all versions that the engine allows unwrap.

    Args:
        address: the address of the key in the API, ``https://HOST:8200/v1/transit/keys/NAME``, with an optional
            namespace before ``transit``.
        client: sends the requests.

    Raises:
        InputError: the address is malformed.
    """

    def __init__(self, address: str, client: KeyServiceClient) -> None:
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise InputError(
                "The address of a key in a key service is https://HOST:8200/v1/transit/keys/NAME, not " + repr(address),
                stage="token",
            )
        check_endpoint_url(address, "address of the master key")
        self._address = address
        self._base = found["api"] + found["mount"]
        self._key = found["name"]
        self._prefix = f"{found['mount']}/keys/{found['name']}:v"
        self._host = host_of(address)
        self._client = client

    def newest(self) -> str:
        """Return the name of the newest version, after checking that the key can be used."""
        answer = self._client.send("GET", self._address)
        data = self._data(answer, "read")
        kind, version = data.get("type"), data.get("latest_version")
        if kind not in _BINDING or data.get("derived"):
            raise InputError(
                f"The key {self._key} in the key service {self._host} cannot wrap data keys: create one of the type "
                "aes256-gcm96 that is not derived.",
                stage="token",
                cause="token_store_unreachable",
                detail=f"type {kind!a}, derived {data.get('derived')!a}",
            )
        if not isinstance(version, int):
            raise self._no_answer(answer)
        return f"{self._prefix}{version}"

    def has(self, name: str) -> bool:
        """Return whether a name is that of a version of this key."""
        return name.startswith(self._prefix) and name[len(self._prefix) :].isdecimal()

    def wrap(self, octets: bytes, context: str) -> WrappedKey:
        """Encrypt a data key with the newest version, with the context as associated data."""
        answer = self._send("encrypt", {"plaintext": _base64(octets), "associated_data": _base64(context.encode())})
        ciphertext = self._data(answer, "encrypt").get("ciphertext")
        wrapped = ciphertext.encode() if isinstance(ciphertext, str) else b""
        if (found := _CIPHERTEXT.fullmatch(wrapped)) is None:
            raise self._no_answer(answer)
        return WrappedKey(f"{self._prefix}{int(found['version'])}", wrapped)

    def unwrap(self, wrapped: WrappedKey, context: str) -> bytes:
        """Decrypt a data key."""
        if not self.has(wrapped.master) or _CIPHERTEXT.fullmatch(wrapped.octets) is None:
            raise InputError(
                f"A tenant's key was wrapped by {wrapped.master}, which is not the master key {self._address}: name "
                "that one as the old master key.",
                stage="token",
                cause="token_store_unreachable",
            )
        body = {"ciphertext": wrapped.octets.decode(), "associated_data": _base64(context.encode())}
        answer = self._send("decrypt", body)
        if answer.status == 400 and not _is_unknown(answer):
            raise self._unopened(answer)
        plaintext = self._data(answer, "decrypt").get("plaintext")
        try:
            return b64decode(plaintext if isinstance(plaintext, str) else "?", validate=True)
        except ValueError:
            raise self._no_answer(answer) from None

    def _unopened(self, answer: Answer) -> InputError:
        if "too old" in answer.errors:
            reason = f"its version of the key {self._key} is not allowed any more (min_decryption_version)"
            cause = "token_store_unreachable"
        else:
            reason, cause = "it was changed, or moved to another tenant", "token_store_unreadable"
        sentence = f"The key service {self._host} does not open a tenant's key: {reason}."
        return InputError(sentence, stage="token", cause=cause, detail=answer.errors)

    def _send(self, operation: Literal["encrypt", "decrypt"], body: Mapping[str, str]) -> Answer:
        return self._client.send("POST", f"{self._base}/{operation}/{self._key}", body)

    def _data(self, answer: Answer, operation: str) -> Mapping[str, object]:
        """Return the ``data`` of a response.

        Raises:
            KeyServiceError: it is a refusal, or not from a key service.
        """
        data = answer.members.get("data")
        if answer.status == 200 and isinstance(data, dict):
            return cast("dict[str, object]", data)
        raise self._refusal(answer, operation)

    def _refusal(self, answer: Answer, operation: str) -> KeyServiceError:
        service = f"The key service {self._host}"
        detail = f"HTTP status {answer.status} {answer.errors}".rstrip()
        if answer.status == 503 and "sealed" in answer.errors.lower():
            return KeyServiceError(f"{service} is sealed: somebody must unseal it.", is_away=True, detail=detail)
        if answer.status in {412, 429, 473} or answer.status >= 500:
            return KeyServiceError(f"{service} cannot answer at the moment.", is_away=True, detail=detail)
        if answer.status == 403:
            return KeyServiceError(
                f"{service} refuses: the token in {self._client.token_file} has expired, or its policy does not allow "
                f"to {operation} with the key {self._key}.",
                is_away=False,
                detail=detail,
            )
        if answer.status == 404 or _is_unknown(answer):
            return KeyServiceError(f"{service} has no key {self._key}.", is_away=False, detail=detail)
        return self._no_answer(answer)

    def _no_answer(self, answer: Answer) -> KeyServiceError:
        return KeyServiceError(
            f"What answers for {self._host} is not a key service, or its address is wrong.",
            is_away=True,
            detail=f"HTTP status {answer.status} {answer.errors}".rstrip(),
        )


def _is_unknown(answer: Answer) -> bool:
    return answer.status == 400 and "encryption key not found" in answer.errors


def _base64(octets: bytes) -> str:
    return b64encode(octets).decode()

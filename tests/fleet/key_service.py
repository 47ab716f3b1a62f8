"""A key service: OpenBao's transit secrets engine as its documentation and source say, with real encryption.

Requests, answers and status codes are those of https://openbao.org/api-docs/secret/transit and
https://openbao.org/api-docs; the words of the errors are in OpenBao's builtin/logical/transit and sdk/helper/keysutil.
"""

from __future__ import annotations

import json
import os
import threading
from base64 import b64decode, b64encode
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

TOKEN = "s.4Nf0xTtSb7pTq2cWqWvR"


class KeyService:
    """One key, ``transit/keys/fleet``.

    Attributes:
        versions: the versions of the key, the first at 0.
        sealed: whether the service is sealed.
        token: the token that it accepts.
        denied: the operations that the token's policy does not allow.
        kind: the type of the key; None if there is no key.
        min_version: the oldest version that decrypts.
        requests: the operations that were asked for.
    """

    def __init__(self) -> None:
        self.versions = [os.urandom(32)]
        self.sealed = False
        self.token = TOKEN
        self.denied: set[str] = set()
        self.kind: str | None = "aes256-gcm96"
        self.min_version = 1
        self.requests: list[str] = []
        self.port = 0

    @property
    def address(self) -> str:
        """The address of the key."""
        return f"http://127.0.0.1:{self.port}/v1/transit/keys/fleet"

    def rotate(self) -> None:
        """``POST /transit/keys/fleet/rotate``."""
        self.versions.append(os.urandom(32))

    def answer(self, method: str, path: str, token: str | None, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Return the status and the JSON object for a request."""
        words = path.removeprefix("/v1/transit/").split("/")
        operation = "read" if (method, words[0]) == ("GET", "keys") else words[0]
        self.requests.append(operation)
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if token != self.token or operation in self.denied:
            return 403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
        if self.kind is None or words[-1] != "fleet":
            return (404, {"errors": []}) if operation == "read" else (400, {"errors": ["encryption key not found"]})
        try:
            return 200, {"request_id": "x", "data": getattr(self, f"_{operation}")(body)}
        except ValueError as error:
            return 400, {"errors": [str(error)]}

    def _read(self, body: dict[str, str]) -> dict[str, Any]:
        assert not body
        return {"type": self.kind, "derived": False, "name": "fleet", "latest_version": len(self.versions)}

    def _encrypt(self, body: dict[str, str]) -> dict[str, Any]:
        nonce, version = os.urandom(12), len(self.versions)
        sealed = AESGCM(self.versions[-1]).encrypt(
            nonce, b64decode(body["plaintext"], validate=True), b64decode(body["associated_data"], validate=True)
        )
        return {"ciphertext": f"vault:v{version}:{b64encode(nonce + sealed).decode()}", "key_version": version}

    def _decrypt(self, body: dict[str, str]) -> dict[str, Any]:
        _, version, text = body["ciphertext"].split(":")
        number, octets = int(version[1:]), b64decode(text, validate=True)
        if number < self.min_version:
            raise ValueError("ciphertext or signature version is disallowed by policy (too old)")
        if number > len(self.versions):
            raise ValueError("invalid ciphertext: version is too new")
        try:
            key = AESGCM(self.versions[number - 1])
            plaintext = key.decrypt(octets[:12], octets[12:], b64decode(body["associated_data"], validate=True))
        except InvalidTag:
            raise ValueError("cipher: message authentication failed") from None
        return {"plaintext": b64encode(plaintext).decode()}


@contextmanager
def run_key_service(context: ssl.SSLContext | None = None, port: int = 0) -> Iterator[KeyService]:
    """Run a key service on loopback while the block runs."""
    service = KeyService()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = json.loads(self.rfile.read(length)) if length else {}
            status, members = service.answer(self.command, self.path, self.headers.get("x-vault-token"), body)
            octets = json.dumps(members).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(octets)))
            self.end_headers()
            self.wfile.write(octets)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    service.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

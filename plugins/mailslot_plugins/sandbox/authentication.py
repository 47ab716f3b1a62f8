"""Authentication of a sandbox's users, and the refusals of the simulated service."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from mailslot.sasl.bearer_server import OAuthBearerServer, XOAuth2Server
from mailslot.sasl.scram_server import ScramSha256Server
from mailslot.sasl.server import LoginServer, PlainServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mailslot.net.server_connection import ServerConnection
    from mailslot.sasl.server import Mechanisms
    from mailslot.wire.reply import Reply
    from mailslot.wire.secret import Secret
    from mailslot_plugins.sandbox.personality import ProtocolBehavior
    from mailslot_plugins.sandbox.state import Dialogue, SandboxState

_ACKNOWLEDGEMENTS: Final = {"XOAUTH2": b"", "OAUTHBEARER": b"AQ=="}


class SignInRefusals(NamedTuple):
    """A protocol's replies to a wrong password, to a wrong token, and if the check fails temporarily."""

    password: Reply
    token: Reply
    unavailable: Reply


class Authenticator:
    """Signs in the client of one connection.

    Attributes:
        state: the sandbox.
        behavior: the service's behaviour in this protocol.
        connection: the connection.
        dialogue: the record of the dialogue.
        mechanisms: the mechanisms of the service, offered or not.
        acknowledgement: the response that acknowledges the last refusal of a token; None if none is due.
        closes_after: the replies after which the connection is closed.
        begin_moment: begins a moment, at which faults can be injected; set by the session.
    """

    begin_moment: Callable[[str], Awaitable[bool]]

    def __init__(
        self,
        state: SandboxState,
        behavior: ProtocolBehavior,
        dialogue: Dialogue,
        refusals: SignInRefusals,
    ) -> None:
        """Make an authenticator for one connection."""
        self.state = state
        self.behavior = behavior
        self.dialogue = dialogue
        self.acknowledgement: bytes | None = None
        wording = behavior.wording
        self.closes_after = frozenset(wording.get(reply, reply) for reply in behavior.closes_after)
        self._personality = personality = state.personality
        self._refusals = refusals
        self._bearer = OAuthBearerServer()
        made: Mechanisms = {
            "XOAUTH2": partial(XOAuth2Server, self._reasons(personality.xoauth2)),
            "OAUTHBEARER": self._make_oauthbearer,
            "PLAIN": PlainServer,
            "LOGIN": LoginServer,
            "SCRAM-SHA-256": partial(ScramSha256Server, self._password_of),
        }
        self.mechanisms = {name: make for name, make in made.items() if name in personality.mechanisms}

    @property
    def connection(self) -> ServerConnection:
        """The connection."""
        return self.dialogue.connection

    def _reasons(self, reasons: Mapping[str, str] | None) -> dict[str, str] | None:
        issuer = self.state.provider.issuer
        return None if reasons is None else {key: value.replace("{issuer}", issuer) for key, value in reasons.items()}

    def _make_oauthbearer(self) -> OAuthBearerServer:
        self._bearer = OAuthBearerServer(self._reasons(self._personality.oauthbearer))
        return self._bearer

    def _password_of(self, user: str) -> Secret | None:
        return self.state.passwords.get(user.lower()) if self._personality.passwords else None

    async def sign_in(self, user: str, secret: Secret) -> Reply | None:
        """Check a password or a token; return the refusal."""
        refusal = self._check(user, secret)
        # After an error challenge, the refusal follows the client's acknowledgement.
        if self.acknowledgement is None and not await self.begin_moment("sign_in"):
            return self._refusals.unavailable
        return refusal

    def _check(self, user: str, secret: Secret) -> Reply | None:
        mechanism = self.connection.mechanism
        if mechanism not in _ACKNOWLEDGEMENTS:
            return None if secret == self._password_of(user) else self._refusals.password
        fields, port = self._bearer.fields, str(self.connection.peer.local_port)
        named = fields.get("host") in {"localhost", "127.0.0.1"} and fields.get("port") == port
        if mechanism == "OAUTHBEARER" and not named:
            self.dialogue.add_violation("OAUTHBEARER names another host or port")
        refusal = self.state.provider.check(secret.reveal(), user, self.behavior.scope)
        if refusal is None and user.lower() in self.state.maildrops:
            return None
        if refusal == "unavailable":
            return self._refusals.unavailable
        reasons = self._personality.xoauth2 if mechanism == "XOAUTH2" else self._personality.oauthbearer
        self.acknowledgement = None if reasons is None else _ACKNOWLEDGEMENTS[mechanism]
        return self._refusals.token

    async def take_response(self, response: bytes) -> None:
        """Record a violation if the response does not acknowledge the error challenge; the refusal follows."""
        due, self.acknowledgement = self.acknowledgement, None
        if due is not None:
            if response not in {due, b"*"}:
                self.dialogue.add_violation("the reasons of a refusal were not acknowledged")
            await self.begin_moment("sign_in")

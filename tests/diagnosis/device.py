"""A device in front of a mail service: its home folder, and a slot that works until a test breaks something."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mailslot import Secret
from mailslot.diagnosis import connection_test
from mailslot.oauth.endpoint_url import origin_of
from mailslot.oauth.grant import Grant
from mailslot.slots.connector import Connector
from mailslot.slots.records import Records
from mailslot.slots.slot import SlotDirectory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mailslot import Endpoint
    from mailslot.diagnosis.result import TestResult
    from mailslot.diagnosis.stages import StageResult
    from mailslot.slots.connection_profile import ConnectionProfile
    from mailslot_plugins.sandbox import Sandbox

SCANNER = "scanner@example.com"
ALICE = "alice@example.com"
CLIENT_ID = "device"


def connector_with_timeout(timeout: float) -> type[Connector]:
    """Return a connector class with another timeout."""

    class ConnectorWithTimeout(Connector):
        async def profile(self, record: str) -> ConnectionProfile:
            return replace(await super().profile(record), timeout=timeout)

    return ConnectorWithTimeout


@dataclass
class Device:
    """A device.

    Attributes:
        home: its home folder.
        secrets: what must never be shown.
    """

    home: Path

    def __post_init__(self) -> None:
        self.records = Records(self.home)
        self.secrets: list[str] = []

    def set(self, slot: str, **values: Any) -> None:
        """Set settings of a slot's record; ``password`` and ``client_secret`` go into the vault."""
        known = {key: None if value is None else str(value) for key, value in values.items()}
        secrets = {key: Secret(known.pop(key)) for key in ("password", "client_secret") if known.get(key)}
        self.secrets += [secret.reveal() for secret in secrets.values()]
        self.records.change(SlotDirectory().find(slot).record, known, secrets)

    def set_endpoint(self, slot: str, endpoint: Endpoint, **values: Any) -> None:
        """Set where a slot's server is."""
        address = {"server": endpoint.host, "port": endpoint.port, "security": endpoint.security.value, "timeout": 10}
        self.set(slot, **{**address, **values})

    async def store_token(
        self,
        slot: str,
        token: str,
        refresh_token: str | None = None,
        *,
        left: float = 3600.0,
        account: str | None = None,
        scopes: tuple[str, ...] = (),
        skew: float = 0.0,
    ) -> None:
        """Save a token as if it had been obtained two hours ago."""
        self.secrets += [token, *([refresh_token] if refresh_token else [])]
        settings = self.records.settings.load_for_change()[SlotDirectory().find(slot).record]
        now, endpoint = time.time(), settings.token_endpoint or settings.issuer
        grant = Grant(
            flow="browser",
            access_token=Secret(token),
            expires_at=now + left,
            refresh_token=None if refresh_token is None else Secret(refresh_token),
            scopes=scopes,
            obtained_at=now - 7200,
            renewed_at=now - 7200,
            account=account,
            skew=skew,
            token_origin=None if endpoint is None else origin_of(endpoint),
        )
        await self.records.tokens.store(SlotDirectory().find(slot).record).save(grant)

    async def test(
        self,
        slot: str,
        *,
        send: bool = False,
        on_stage: Callable[[StageResult], None] | None = None,
        timeout: float | None = None,
    ) -> TestResult:
        """Test a slot in a process of its own, so to speak.

        Args:
            slot: which.
            send: whether with a message.
            on_stage: hears of the stages.
            timeout: seconds for each step, if not those that are set, which are whole ones.
        """
        async with (Connector if timeout is None else connector_with_timeout(timeout))(Records(self.home)) as connector:
            result = await connection_test.check_connection(
                connector, SlotDirectory().find(slot), send=send, on_stage=on_stage
            )
        for secret in self.secrets:
            assert secret not in repr(result)
        return result

    # In front of the sandbox.

    def trust(self, pem: bytes) -> Path:
        """Write a file of certificate authorities."""
        path = self.home / "ca.pem"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pem)
        return path

    async def set_up_slot(
        self, slot: str, sandbox: Sandbox, *, left: float = 3600.0, valid: bool = True, keep: bool = True, **values: Any
    ) -> str:
        """Let a slot sign in to the sandbox with a token, and return the renewal token behind it.

        Args:
            slot: which.
            sandbox: where.
            left: seconds until the access token ends, by the grant.
            valid: whether the mail server takes it.
            keep: whether there is a token at all.
            values: settings beside the usual ones.
        """
        smtp = SlotDirectory().find(slot).protocol == "SMTP"
        client = sandbox.provider.register(CLIENT_ID)
        refresh_token = sandbox.provider.consent(SCANNER, client).reveal()
        usual = {
            "authentication": "oauth2",
            "account": SCANNER,
            "provider": "custom",
            "token_endpoint": f"{sandbox.issuer}/token",
            "authorization_endpoint": f"{sandbox.issuer}/authorize",
            "client_id": CLIENT_ID,
            "scopes": sandbox.personality.smtp.scope if smtp else sandbox.personality.pop3.scope,
            "ca_file": self.trust(sandbox.ca_pem),
        }
        self.set_endpoint(slot, sandbox.smtp if smtp else sandbox.pop3s, **{**usual, **values})
        if keep:
            token = sandbox.provider.issue(SCANNER, lifetime=3600 if valid else -10)
            await self.store_token(slot, token.value.reveal(), refresh_token, left=left)
        return refresh_token

"""What our own client does on Postfix and Dovecot, done through aiosmtplib; and its tests of TLS and of signing in.

The tests are those of the modules that are named here, run with the other client in place of ours. What chunks and
batches is left out: that is more than a submitter has to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab import test_journey
from lab.test_journey import (
    empty_maildrops,
    test_a_scanned_page_arrives_unchanged,
    test_international_recipient_and_delivery_report,
    test_no_token_is_in_any_log,
    test_passwords_by_scram,
    test_refused_sender_recipients_and_size,
    test_submission_without_authentication,
    test_untrusted_certificate,
    test_wrong_port_and_encryption,
)
from mailslot_plugins.aiosmtplib.submitter import connect
from smtp import test_authentication, test_tls
from smtp.test_authentication import (
    test_how_often_a_token_is_tried,
    test_oauth_never_falls_back_to_a_password_mechanism,
)
from smtp.test_tls import (
    test_a_valid_certificate,
    test_invalid_certificates,
    test_octets_injected_before_tls,
    test_old_tls_versions,
)

if TYPE_CHECKING:
    import ssl

    from lab.dovecot import Dovecot
    from lab.postfix import Postfix
    from lab.provider import Provider


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def through_aiosmtplib(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (test_journey, test_authentication, test_tls):
        monkeypatch.setattr(module, "connect_smtp", connect)


@test_journey.mechanisms
async def test_a_bad_token_is_tried_twice_at_most(
    provider: Provider, dovecot: Dovecot, postfix: Postfix, lab_context: ssl.SSLContext, mechanism: str
) -> None:
    check = test_journey.test_a_bad_token_is_tried_twice_at_most
    await check(provider, dovecot, postfix, lab_context, "foreign", mechanism)


__all__ = [
    "empty_maildrops",
    "test_a_scanned_page_arrives_unchanged",
    "test_a_valid_certificate",
    "test_how_often_a_token_is_tried",
    "test_international_recipient_and_delivery_report",
    "test_invalid_certificates",
    "test_no_token_is_in_any_log",
    "test_oauth_never_falls_back_to_a_password_mechanism",
    "test_octets_injected_before_tls",
    "test_old_tls_versions",
    "test_passwords_by_scram",
    "test_refused_sender_recipients_and_size",
    "test_submission_without_authentication",
    "test_untrusted_certificate",
    "test_wrong_port_and_encryption",
]

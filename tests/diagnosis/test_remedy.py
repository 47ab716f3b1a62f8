"""What the person at the device can set, by cause and facts."""

from __future__ import annotations

import pytest

from mailslot.causes.cause import causes
from mailslot.diagnosis.catalogue import explain
from mailslot.diagnosis.diagnosis import Diagnosis
from mailslot.slots.settings import KEYS, SECRETS

OWN = {"host": "mail.example.com", "port": "588", "security_now": "starttls"}
"""A slot with a server that no provider publishes."""

OFFICE = {"published_server": "smtp.office365.com", "published_port": "587", "published_security": "starttls"}


@pytest.mark.parametrize(
    ("cause", "facts", "settings"),
    [
        ("tls_port_mismatch", OWN | {"security_right": "tls"}, ("security=tls",)),
        ("connection_refused", OWN, ("port=…",)),
        ("connection_refused", OWN | OFFICE, ("port=587",)),
        ("name_not_found", OWN | OFFICE | {"host": "smtp.ofice365.com"}, ("server=smtp.office365.com",)),
        ("connection_timeout", OWN | OFFICE | {"host": "SMTP.office365.com"}, ("port=587",)),
        ("tls_not_offered", OWN, ("security=tls", "port=")),
        ("certificate_untrusted", OWN, ("ca_file=…",)),
        ("not_configured", {"missing": "server"}, ("server=…",)),
        ("sender_refused", {"account": "scanner@example.com"}, ("sender_address=scanner@example.com",)),
        ("app_secret_invalid", {}, ("client_secret=-",)),
    ],
)
def test_a_setting_of_the_slot_is_for_the_person_at_the_device(
    cause: str, facts: dict[str, str], settings: tuple[str, ...]
) -> None:
    explanation = explain(Diagnosis(cause, facts))
    assert (explanation.settings, explanation.actor) == (settings, "operator")


@pytest.mark.parametrize(
    ("cause", "facts"),
    [
        # The provider's own server, as it publishes it.
        ("connection_refused", OFFICE | {"host": "smtp.office365.com", "port": "587", "security_now": "starttls"}),
        ("tls_not_offered", OFFICE | {"host": "smtp.office365.com", "port": "587", "security_now": "starttls"}),
        ("certificate_untrusted", OFFICE | {"host": "smtp.office365.com"}),
        # Nothing is known about the slot.
        ("connection_refused", {}),
        ("not_configured", {"reason": "mailslot.toml has 2 faults."}),
        ("scope_wrong", {"default_scopes": "yes"}),
        ("authentication_required", {"signed_in_as": "scanner@example.com"}),
        ("network_unreachable", OWN),
    ],
)
def test_what_is_right_already_is_not_to_be_set(cause: str, facts: dict[str, str]) -> None:
    explanation = explain(Diagnosis(cause, facts))
    assert (explanation.settings, explanation.actor) == ((), causes()[cause].actor)


def test_only_settings_that_exist_are_named() -> None:
    named = {setting.partition("=")[0] for cause in causes().values() for setting in cause.settings}
    assert named - {"{missing}"} <= {*KEYS, *SECRETS}

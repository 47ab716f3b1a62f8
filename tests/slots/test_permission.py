"""Who may set each key; a new key has to be added here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mailslot.errors import InputError
from mailslot.slots import keys
from mailslot.slots.keys import Key, SetterRole, parse_value
from mailslot.slots.permission import NotPermittedError, check_permission, least_role, required_role
from mailslot.slots.records import Records
from mailslot.slots.section import find_section, section_names
from mailslot.slots.settings import KEYS

if TYPE_CHECKING:
    from pathlib import Path

    from mailslot.slots.settings import Settings

ANYBODY = {
    # Where mail and tokens come from and go to: the business of whoever looks after devices. What is kept for one
    # place never goes to another (`mailslot.slots.secret_destinations`).
    "record": "server secondary_server port security timeout sender_name sender_address authentication account "
    "provider client_id tenant flow check_interval after_fetch first_poll submitter maildrop maildrop_options pop_slot "
    "issuer authorization_endpoint token_endpoint device_authorization_endpoint revocation_endpoint scopes "
    "redirect_uri redirect_port",
    "device": "name model serial_number location language administrator",
    "scan": "subject text name oversize max_size max_recipients lifetime to after settle",
    "fax": "resolution coding header_line own_number confirmation max_pages lifetime format cover allowed_senders "
    "rejected_senders receipts answer_failures thumbnails",
    "print": "allowed_senders trusted_server body options max_attachments max_pages max_copies mails_per_hour "
    "pages_per_day wait_hours reply thumbnails",
    "alerts": "minimum_severity muted debounce clear_after reminder_hours all_clear mails_per_hour schedule "
    "schedule_recipients timezone printer printer_interval",
    "status": "allowed_senders answers_per_sender answers_per_hour",
    "panel": "",
    "rules": "delay",
    "addressbook": "",
}
ADMINISTRATOR = {
    # Who gets into the panel, what calls somebody else's address, and what may do anything to a printer.
    "panel": "names idle_minutes",
    "device": "webhook",
    "print": "printer_languages",
    "scan": "scanner scanner_source",
    "rules": "allow deny destinations sender archive",
    # Where a password goes, and whom names stand for.
    "addressbook": "ldap_server ldap_security ldap_type ldap_base ldap_user ldap_port ldap_filter ldap_name "
    "ldap_display_name ldap_mail ldap_fax ldap_fax_gateway ldap_max_results ldap_timeout ldap_keep_minutes",
}
LOCAL = {
    # Programs that run, and files and folders that are read, written, sent or believed.
    "record": "token_source ca_file",
    "scan": "folder",
    "fax": "ca_file",
    "print": "ca_file",
    "addressbook": "ldap_ca_file",
    "alerts": "printer_ca_file",
    "panel": "certificate key",
}
BY_VALUE = {"fax": "deliver_to", "print": "printer"}


def tables() -> dict[str, dict[str, Key]]:
    sections = {name: find_section(name) for name in section_names()}
    allowed_sections = {
        name: dict(section.keys) for name, section in sections.items() if section is not None and name in ANYBODY
    }
    return {"record": dict(KEYS), **allowed_sections}


def test_every_key_declares_its_permission() -> None:
    for table, known in tables().items():
        groups = {"api_key": ANYBODY, "administrator": ADMINISTRATOR, "local": LOCAL, "value": BY_VALUE}
        decided = {key: group for group, names in groups.items() for key in names.get(table, "").split()}
        recipients = {key: "api_key" for key in known if key.startswith("recipients")}
        found = {key: "value" if callable(each.set_by) else least_role(each) for key, each in known.items()}
        assert found == decided | recipients, table


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("print", "printer", "command lp", "local"),
        ("print", "printer", "folder /etc", "local"),
        ("print", "printer", "usb /dev/lp0", "local"),
        ("print", "printer", "ipp://printer.example/ipp/print", "api_key"),
        ("print", "printer", "ipps://printer.example/ipp/print", "api_key"),
        ("fax", "deliver_to", ["folder fax", "printer command lp"], "local"),
        ("fax", "deliver_to", ["folder /etc/cron.d"], "local"),
        ("fax", "deliver_to", ["folder vault"], "local"),
        ("fax", "deliver_to", "mail a@example.com; folder ../panel", "local"),
        ("fax", "deliver_to", ["mail command@example.com", "printer ipp://x/"], "api_key"),
        # What is there already, and what is there where nothing is set.
        ("fax", "deliver_to", ["folder fax", "folder /srv/fax", "mail a@example.com"], "api_key"),
        ("print", "printer", "folder /srv/print", "api_key"),
        ("print", "printer", None, "api_key"),
        ("panel", "names", "evil.example", "administrator"),
        ("panel", "names", None, "administrator"),
        ("panel", "idle_minutes", 15, "api_key"),
        ("panel", "certificate", None, "administrator"),
        ("scan", "folder", "/", "local"),
        ("scan", "folder", None, "administrator"),
        ("device", "name", "command lp", "api_key"),
    ],
)
def test_who_may_set_a_value(section: str, key: str, value: object, expected: SetterRole) -> None:
    found = find_section(section)
    assert found is not None
    before: dict[str, Any] = {
        "printer": "folder /srv/print",
        "deliver_to": ("folder /srv/fax",),
        "names": ("panel.example",),
        "certificate": "/a.pem",
        "folder": "/srv/scans",
    }
    assert required_role(found.keys[key], parse_value(found.keys, key, value), before.get(key)) == expected


def test_paths_of_plugins_are_local_by_default() -> None:
    known = {"file": Key("the path of a file", keys.path), "name": Key("a text", keys.text)}
    for by in ("api_key", "administrator"):
        with pytest.raises(NotPermittedError) as caught:
            check_permission(known, {"name": "x", "file": "/etc/passwd"}, {}, by, "journal")
        assert (caught.value.key, caught.value.needs, caught.value.cause) == ("file", "local", "not_permitted")
        assert "mailslot set journal file=" in str(caught.value)
    check_permission(known, {"name": "x", "file": "/etc/passwd"}, {}, "local", "journal")
    check_permission(known, {"name": "x"}, {}, "api_key", "journal")
    with pytest.raises(InputError, match="There is no setting"):
        check_permission(known, {"nome": "x"}, {}, "api_key", "journal")


def test_a_permission_is_checked_again_when_the_change_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may give back a value that is unchanged, but not one that somebody has replaced meanwhile."""
    records, other = Records(tmp_path), Records(tmp_path)
    records.change("smtp", {"token_source": "file /run/old"}, {})
    change = records.settings.change

    def change_late(*arguments: Any, **options: Any) -> Settings:
        monkeypatch.undo()
        other.change("smtp", {"token_source": "file /run/new"}, {})
        return change(*arguments, **options)

    monkeypatch.setattr(records.settings, "change", change_late)
    with pytest.raises(NotPermittedError):
        records.change("smtp", {"token_source": "file /run/old", "port": 25}, {}, role="api_key")
    settings = other.settings.load()["smtp"]
    assert (settings.token_source, settings.port) == ("file /run/new", None)

"""What panels, logs and other clients show, and the command that says what it means."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import mailslot
from diagnosis.collected_answers import displayed_texts
from mailslot.causes.cause import causes
from mailslot.causes.maker_codes import MakerCode, find_maker_codes, maker_codes, makers_of, parse_maker_codes
from mailslot.causes.shown import parse_shown, shown_rows
from mailslot.diagnosis.catalogue import explain
from mailslot.diagnosis.pasted import explain_pasted

if TYPE_CHECKING:
    from diagnosis.collected import Part

CLIENTS: Final[dict[str, list[str]]] = tomllib.loads((Path(__file__).parent / "clients.toml").read_text("utf-8"))


def share_of_right_causes(half: Part) -> float:
    """Return a share, and no text: no row is to be tuned to one of the half that is not looked at."""
    found = [(explain_pasted(each.text), each.accepted_causes) for each in displayed_texts(half)]
    return sum((diagnosis.cause if diagnosis else "unknown") in right for diagnosis, right in found) / len(found)


@pytest.mark.parametrize(("half", "least"), [("seen", 0.95), ("third", 0.97), ("unseen", 0.88), ("fifth", 0.86)])
def test_most_displayed_texts_get_the_right_cause(half: Part, least: float) -> None:
    assert share_of_right_causes(half) >= least


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("said: 534-5.7.9 Application-specific password required (in reply to AUTH PLAIN)", "app_password_required"),
        ("-ERR [IN-USE] Mailbox is locked by another POP3 session.", "mailbox_in_use"),
        ('{"error":"invalid_grant","error_description":"Token has been expired or revoked."}', "token_update_failed"),
        ("AADSTS7000222: The provided client secret keys are expired.", "app_secret_expired"),
        ("connect ECONNREFUSED 203.0.113.25:587", "connection_refused"),
    ],
)
def test_who_is_quoted_counts_first(text: str, cause: str) -> None:
    found = explain_pasted(text)
    assert found is not None
    assert found.cause == cause


@pytest.mark.parametrize(
    ("cause", "text"),
    [(cause, text) for cause, texts in CLIENTS.items() for text in texts],
)
def test_what_clients_put_around_a_servers_words_is_taken_off(cause: str, text: str) -> None:
    found = explain_pasted(text)
    assert found is not None
    assert found.cause == cause


@pytest.mark.parametrize(
    "text",
    [
        "Paper jam in tray 2",
        "Order 535 shipped",
        "Invoice 550 from 2024-05-01",
        "Scan to folder failed: access denied",
        "The file name is too long",
        "Password changed successfully",
        "TLS started with cipher TLSv1.3",
        "250 2.0.0 OK",
        "Papierstau",
        "用紙切れ",
    ],
)
def test_what_is_no_fault_of_mail_is_not_explained(text: str) -> None:
    assert explain_pasted(text) is None


@pytest.mark.parametrize(
    ("text", "cause", "says"),
    [
        (
            "The audience claim value is invalid for current resource. Audience claim is 'https://graph.microsoft.com/'.",
            "token_for_other_service",
            "The token is for Microsoft Graph,",
        ),
        (
            "Access token validation failure. Invalid audience.",
            "token_for_other_service",
            "The token is for another service,",
        ),
        (
            "AADSTS650057: Invalid resource. Resource app ID: 00000002-0000-0000-c000-000000000000.",
            "scope_wrong",
            "are for Azure AD Graph,",
        ),
    ],
)
def test_a_wrong_resource_is_named(text: str, cause: str, says: str) -> None:
    found = explain_pasted(text)
    assert found is not None
    assert found.cause == cause
    assert says in explain(found).message


@given(st.text(max_size=300))
def test_whatever_is_pasted(text: str) -> None:
    found = explain_pasted(text)
    assert found is None or found.cause in causes()


def test_no_secret_is_shown_again() -> None:
    secret = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9" * 3
    found = explain_pasted(f"535 5.7.8 Username and Password not accepted Bearer {secret}")
    assert found is not None
    assert secret[:40] not in str(found.facts)


@pytest.mark.parametrize("code", maker_codes(), ids=lambda each: f"{each.maker}-{each.code}")
def test_a_makers_code(code: MakerCode) -> None:
    for text in (f"{code.maker} {code.code}", f"{code.maker.upper()}: error {code.code.lower()}."):
        found = explain_pasted(text)
        assert found is not None
        assert found.cause == code.cause in causes()
        assert found.facts["maker"] == code.maker
    alone = explain_pasted(f"Error {code.code}")
    # Another maker may have the same number.
    assert (alone is None) == code.code.isdecimal()
    assert makers_of(code.code) == [code.maker]
    assert code.source


@pytest.mark.parametrize("text", ["1102", "at 11020 and 32790.5", "0x80160", "E4210", "16#510DA"])
def test_a_number_is_not_taken_for_a_code(text: str) -> None:
    assert find_maker_codes(text) == []


def test_a_wrong_row_of_codes_is_refused() -> None:
    row = "[[code]]\nmaker = 'M'\ncodes = ['1']\ncause = 'unknown'\nsource = 's'\n"
    assert len(parse_maker_codes(row)) == 1
    for wrong in (row + row, row + "kind = 1", row.replace("source", "quelle"), ""):
        with pytest.raises(ValueError, match=r"two rows|columns|KeyError"):
            parse_maker_codes(wrong)


def test_the_maker_is_asked_for(tmp_path: Path) -> None:
    done = mailslot("--home", tmp_path, "explain", "1102")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Name the maker as well, such as: mailslot explain Kyocera 1102\n"
    asked = mailslot("--home", tmp_path, "explain", "--json", "1102")
    assert json.loads(asked.stdout) == {"cause": None, "makers": ["Kyocera"]}
    named = mailslot("--home", tmp_path, "explain", "--language", "de", "Kyocera", "1102")
    assert "Angezeigt von: Kyocera" in named.stdout.splitlines()
    document = json.loads(mailslot("--home", tmp_path, "explain", "--json", "16#5104").stdout)
    assert (document["cause"], document["maker"]) == ("connection_refused", "Schneider")


def test_rows_are_of_the_catalogue_and_have_a_source() -> None:
    assert parse_shown(files("mailslot.causes").joinpath("shown.toml").read_text("utf-8"))
    assert {row.cause for row in shown_rows()} <= causes().keys()
    assert all(row.source for row in shown_rows())
    for wrong in ("[[shown]]\ncause = 'unknown'", "[[shown]]\ncause = 'unknown'\nsays = ['[']\nsource = 's'"):
        with pytest.raises(ValueError, match=r"says|Error|error"):
            parse_shown(wrong)


# The command.


def test_the_command(tmp_path: Path) -> None:
    done = mailslot("--home", tmp_path, "explain", "535 5.7.139", "basic authentication is disabled.")
    assert (done.returncode, done.stderr) == (0, "")
    assert "This mail service no longer accepts a password." in done.stdout
    assert "password_no_longer_accepted" in done.stdout


def test_the_command_reads_standard_input_and_speaks_the_language(tmp_path: Path) -> None:
    done = mailslot("--home", tmp_path, "explain", "--language", "de", typed="status=deferred (connection refused)")
    assert done.returncode == 0
    assert "Der Mailserver lehnt Verbindungen ab." in done.stdout


def test_the_command_prints_json(tmp_path: Path) -> None:
    done = mailslot("--home", tmp_path, "explain", "--json", "550 5.1.1 User unknown")
    document = json.loads(done.stdout)
    assert (document["cause"], document["actor"], document["token_helps"]) == ("recipient_refused", "operator", False)
    unknown = mailslot("--home", tmp_path, "explain", "--json", "The moon is in the wrong phase.")
    assert (json.loads(unknown.stdout), unknown.returncode) == ({"cause": None}, 1)


def test_nothing_is_made_up(tmp_path: Path) -> None:
    done = mailslot("--home", tmp_path, "explain", "The moon is in the wrong phase.")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Nothing is known about this." in done.stderr
    assert mailslot("--home", tmp_path, "explain", "--language", "tlh", "x").returncode == 2
    assert "standard input" in mailslot("--home", tmp_path, "explain", typed=" \n").stderr

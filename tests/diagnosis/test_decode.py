"""What tokens and SASL messages say of themselves, and the command that prints it: never a secret."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import string
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_line import mailslot
from mailslot import Secret
from mailslot.diagnosis.catalogue import LANGUAGES
from mailslot.diagnosis.decoding.findings import MAX_LIST, sentences
from mailslot.diagnosis.decoding.shapes import find_shape, token_shapes
from mailslot.diagnosis.decoding.transcript import MAX_INPUT, MAX_PIECES, decode_pasted
from mailslot.sasl.mechanism import AuthenticationContext
from mailslot.sasl.registry import create_mechanism

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()
SIGNATURE = "c2lnbmF0dXJlIG9mIHRoZSB0b2tlbg" * 4
OF_GOOGLE = "ya29.a0AfB_byDmadeUpForATest0123456789"
USER = "scanner@example.com"
MAIL = {
    "aud": "https://outlook.office.com",
    "iss": "https://sts.windows.net/11111111-2222-3333-4444-555555555555/",
    "ver": "1.0",
    "upn": USER,
    "scp": "SMTP.Send POP.AccessAsUser.All",
    "tid": "11111111-2222-3333-4444-555555555555",
    "appid": "99999999-8888-7777-6666-555555555555",
    "iat": NOW - 600,
    "exp": NOW + 3000,
}


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def jwt(claims: dict[str, Any]) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "x"}, claims)
    ]
    return ".".join([*parts, SIGNATURE])


def xoauth2(token: str, user: str = USER) -> str:
    return b64(f"user={user}\x01auth=Bearer {token}\x01\x01")


def oauthbearer(token: str, header: str = f"n,a={USER},") -> str:
    return b64(f"{header}\x01host=smtp.example.com\x01port=587\x01auth=Bearer {token}\x01\x01")


def wrapped(text: str) -> str:
    return "\n".join(text[at : at + 76] for at in range(0, len(text), 76))


def found(text: str) -> set[str]:
    return {finding.id for piece in decode_pasted(text, NOW) for finding in piece}


def said(text: str, language: str = "en") -> str:
    return "\n".join(each.sentence(language) for piece in decode_pasted(text, NOW) for each in piece)


PADDED = next(message for length in range(3) if (message := xoauth2(OF_GOOGLE + "0" * length)).endswith("="))
DIALOGUE = (
    f"C: AUTH LOGIN\nS: 334 {b64('Username:')}\nC: {b64('scanner')}\n"
    f"S: 334 {b64('Password:')}\nC: {b64('sesame sesame')}"
)
CASES: dict[str, tuple[str, set[str]]] = {
    "a token of Microsoft": (
        jwt(MAIL),
        {"jwt", "issuer", "microsoft_version", "audience", "token_user", "application", "tenant", "scopes"}
        | {"mail_services", "issued", "expires"},
    ),
    "an application's token": (
        jwt({"aud": "https://outlook.office365.com", "roles": ["SMTP.SendAsApp"], "exp": NOW + 60}),
        {"jwt", "audience", "application_token", "roles", "mail_services", "expires"},
    ),
    "a token without mail": (jwt({**MAIL, "scp": "User.Read"}), {"no_mail_services"}),
    "a token without permissions": (jwt({"aud": "x", "exp": NOW + 60}), {"no_permissions"}),
    "an expired token": (jwt({**MAIL, "exp": NOW - 1}), {"expired"}),
    "a token of the future": (jwt({**MAIL, "nbf": NOW + 1}), {"not_yet_valid"}),
    "a token without expiry": (jwt({"scope": "mail"}), {"no_expiry"}),
    "an ID token": (jwt({"aud": "app", "nonce": "n", "email": USER}), {"id_token"}),
    "a JWE": ("eyJhbGciOiJSU0EtT0FFUCJ9.aaaa.bbbb.cccc.dddd", {"encrypted_token"}),
    "half a JWT": (jwt(MAIL)[:60], {"damaged_jwt"}),
    "a header": (f"Authorization: Bearer {OF_GOOGLE}", {"access_token"}),
    "another header": ("Authorization: Bearer 0123456789abcdef", {"opaque_token"}),
    "XOAUTH2": (xoauth2(OF_GOOGLE), {"xoauth2", "sasl_user", "access_token"}),
    "OAUTHBEARER": (oauthbearer(OF_GOOGLE), {"oauthbearer", "sasl_user", "server", "access_token"}),
    "PLAIN": (b64("\0scanner\0sesame sesame"), {"plain", "sasl_user", "password_present"}),
    "PLAIN for another": (b64("boss\0scanner\0sesame sesame"), {"plain", "sasl_user", "acts_for", "password_present"}),
    "SCRAM": (b64("n,,n=scanner,r=fyko+d2lbbFgONRv9qkxdawL"), {"scram"}),
    "NTLM": (b64(b"NTLMSSP\0\1\0\0\0"), {"ntlm"}),
    "CRAM-MD5": (
        f"334 {b64('<1896.697170952@postoffice.example.net>')}\n{b64('tim b913a602c7eda7a495b4e6e7334d3890')}",
        {"cram_md5_challenge", "cram_md5_response"},
    ),
    "LOGIN": (
        DIALOGUE,
        {"command", "user_prompt", "login_user_name", "password_prompt", "login_password", "sasl_user"},
    ),
    "LOGIN, the user alone": (b64(USER), {"login_user"}),
    "LOGIN the wrong way round": (
        f"AUTH LOGIN {b64('sesame sesame')}\n334 {b64('Password:')}\n{b64(USER)}",
        {"command", "login_password", "user_and_password_swapped", "password_prompt"},
    ),
    "LOGIN with one word twice": (
        f"AUTH LOGIN {b64('sesame')}\n334 {b64('Password:')}\n{b64('sesame')}",
        {"user_is_password"},
    ),
    "a refusal": (
        (
            f"AUTH XOAUTH2 {xoauth2(OF_GOOGLE)}\r\n"
            "334 eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ=="
        ),
        {"command", "xoauth2", "sasl_user", "access_token", "error_challenge", "challenge_scope", "challenge_schemes"},
    ),
    "a refusal without base64": ('{"status":"401","schemes":"bearer mac"}', {"error_challenge", "challenge_schemes"}),
    "Python's smtplib": (
        f"send: 'AUTH XOAUTH2\\r\\n'\nreply: b'334 \\r\\n'\nsend: '{xoauth2(OF_GOOGLE)}\\r\\n'",
        {"command", "empty_challenge", "xoauth2", "sasl_user", "access_token"},
    ),
    "swaks": (
        f" -> AUTH OAUTHBEARER\n<-  334 \n -> {oauthbearer(OF_GOOGLE)}",
        {"command", "empty_challenge", "oauthbearer", "sasl_user", "server", "access_token"},
    ),
    "POP3": (
        f"AUTH XOAUTH2\n+ \n{xoauth2(OF_GOOGLE)}",
        {"command", "empty_challenge", "xoauth2", "sasl_user", "access_token"},
    ),
    "IMAP": (f"a1 AUTHENTICATE XOAUTH2 {xoauth2(OF_GOOGLE)}", {"command", "xoauth2", "sasl_user", "access_token"}),
    "OAUTHBEARER refused": (
        f"AUTH OAUTHBEARER {oauthbearer(OF_GOOGLE)}\n334 eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=\nAQ==\nQUIT",
        {"command", "oauthbearer", "error_challenge", "acknowledgement"},
    ),
    "a challenge of no kind": (f"334 {b64(b'???')}", {"other_challenge"}),
    "a message of no kind": (f"AUTH PLAIN\n334 \n{b64('???????')}", {"command", "empty_challenge", "other_message"}),
    "a response of a token service": (
        json.dumps(
            {
                "access_token": OF_GOOGLE,
                "refresh_token": "1//0gMadeUpForATest0123456789",
                "id_token": jwt({"aud": "app", "nonce": "n"}),
                "scope": "https://mail.google.com/",
            }
        ),
        {"member_access_token", "access_token", "scopes", "member_refresh_token", "refresh_token", "member_id_token"}
        | {"id_token", "audience", "no_expiry"},
    ),
    "a refresh token sent to a mail server": (xoauth2("1//0gMadeUpForATest0123456789"), {"not_an_access_token"}),
    "an ID token sent to a mail server": (xoauth2(jwt({"aud": "app", "nonce": "n"})), {"not_an_access_token"}),
    "somebody else's token": (xoauth2(jwt(MAIL), "other@example.com"), {"user_differs"}),
    "no user": (xoauth2(OF_GOOGLE, ""), {"user_missing"}),
    "a user with a blank": (xoauth2(OF_GOOGLE, f"{USER} "), {"user_with_blanks"}),
    "no token": (xoauth2(""), {"token_missing"}),
    "no password": (b64("\0scanner\0"), {"password_missing"}),
    "PLAIN the wrong way round": (b64(f"\0sesame sesame\0{USER}"), {"user_and_password_swapped"}),
    "XOAUTH2 the wrong way round": (xoauth2(USER, "0123456789abcdef"), {"user_and_token_swapped"}),
    "two parts": (b64("scanner\0sesame sesame"), {"plain_parts_wrong"}),
    "^A in letters": (b64(f"user={USER}^Aauth=Bearer {OF_GOOGLE}^A^A"), {"separators_written_out"}),
    "no ^A": (b64(f"user={USER}auth=Bearer {OF_GOOGLE}"), {"separators_missing"}),
    "one ^A at the end": (b64(f"user={USER}\x01auth=Bearer {OF_GOOGLE}\x01"), {"end_missing"}),
    "no GS2 header": (oauthbearer(OF_GOOGLE, f"n,a={USER}"), {"gs2_header_wrong"}),
    "Bearer twice": (xoauth2(f"Bearer {OF_GOOGLE}"), {"bearer_twice"}),
    "Bearer twice in a header": (f"Authorization: Bearer Bearer {OF_GOOGLE}", {"bearer_twice"}),
    "no Bearer": (b64(f"user={USER}\x01auth={OF_GOOGLE}\x01\x01"), {"bearer_missing"}),
    "a quoted token": (xoauth2(f'"{OF_GOOGLE}"'), {"token_quoted", "access_token"}),
    "a wrapped token": (wrapped(jwt(MAIL)), {"token_with_blanks", "jwt"}),
    "a token with a line break": (xoauth2(f"{OF_GOOGLE}\n"), {"token_with_blanks", "access_token"}),
    "a token in base64": (b64(OF_GOOGLE), {"token_in_base64", "access_token"}),
    "a token where a message belongs": (f"AUTH XOAUTH2 {OF_GOOGLE}", {"token_without_message"}),
    "another mechanism": (f"AUTH OAUTHBEARER {xoauth2(OF_GOOGLE)}", {"other_mechanism"}),
    "echo": (b64("\0scanner\0sesame sesame\n"), {"line_break_at_end"}),
    "echo, the user alone": (b64(f"{USER}\n"), {"login_user", "line_break_at_end"}),
    "no base64": (f"user={USER}\x01auth=Bearer {OF_GOOGLE}\x01\x01", {"not_in_base64", "xoauth2"}),
    "base64 twice": (b64(xoauth2(OF_GOOGLE)), {"encoded_twice", "xoauth2", "sasl_user", "access_token"}),
    "wrapped base64": (wrapped(xoauth2(jwt(MAIL))), {"base64_line_breaks", "xoauth2", "mail_services"}),
    "a wrapped command": (f"AUTH XOAUTH2 {wrapped(xoauth2(jwt(MAIL)))}", {"base64_line_breaks", "xoauth2", "jwt"}),
    "base64 of addresses": (
        base64.urlsafe_b64encode(f"user=~~~?{USER}\x01auth=Bearer {OF_GOOGLE}\x01\x01".encode()).decode(),
        {"base64_url_alphabet", "xoauth2"},
    ),
    "base64 without its end": (PADDED.rstrip("="), {"base64_padding", "xoauth2"}),
}


@pytest.mark.parametrize(("text", "wanted"), CASES.values(), ids=CASES)
def test_what_is_found(text: str, wanted: set[str]) -> None:
    assert wanted <= found(text)


@pytest.mark.parametrize("name", ["XOAUTH2", "OAUTHBEARER", "PLAIN", "SCRAM-SHA-256"])
def test_our_own_messages_are_right(name: str) -> None:
    mechanism = create_mechanism(name, AuthenticationContext(USER, Secret(OF_GOOGLE), "mail.example.com", 587))
    message = mechanism.start()
    assert message is not None
    (piece,) = decode_pasted(b64(message), NOW)
    assert [each.id for each in piece if each.is_fault] == []
    assert USER in "".join(each.sentence("en") for each in piece)


def test_a_message_that_was_cut_off() -> None:
    whole = xoauth2(OF_GOOGLE).rstrip("=")
    cut = {length: found(whole[:length]) for length in range(60, len(whole))}
    assert all("xoauth2" in ids for ids in cut.values())
    assert all("base64_cut_off" in ids for length, ids in cut.items() if length % 4 == 1)
    assert all("end_missing" in ids for length, ids in cut.items() if length < len(whole) - 3)


@pytest.mark.parametrize(
    ("token", "kind", "provider"),
    [
        (OF_GOOGLE, "access_token", "Google"),
        ("1//0gMadeUpForATest0123456789", "refresh_token", "Google"),
        ("4/0AMadeUpForATest0123456789", "authorization_code", "Google"),
        ("GOCSPX-MadeUpForATest0123456789", "client_secret", "Google"),
        ("EwB4A8l6" + "MadeUpForATest/+" * 5 + "==", "access_token", "Microsoft"),
        ("M.C552_BL2.2.U.e63dbda3-0000-0000-0000-52b6193c5b0a", "authorization_code", "Microsoft"),
        ("M.C519_BAY.0.U.-CufMade!Up*For!A*Test0123456789", "refresh_token", "Microsoft"),
        ("0.AXoAMadeUpForATest0123456789-_0123456789.AgABAAEAAAD", "refresh_token_or_code", "Microsoft"),
        ("1000." + "0123456789abcdef" * 2 + "." + "fedcba9876543210" * 2, "access_or_refresh_token", "Zoho"),
    ],
)
def test_shapes_of_tokens(token: str, kind: str, provider: str) -> None:
    shape = find_shape(token)
    assert shape is not None
    assert (shape.kind, shape.provider) == (kind, provider)
    assert kind in found(token)
    assert provider in said(token)
    assert token not in said(token)
    assert all(row.source for row in token_shapes())


def test_every_finding_is_reached() -> None:
    reached = set[str]().union(*(found(text) for text, _ in CASES.values()))
    reached |= {shape.kind for shape in token_shapes()} | {"base64_cut_off"}  # in the tests above
    assert set(sentences()) - reached == set()


@pytest.mark.parametrize("finding", sentences())
def test_sentences_are_complete_in_every_language(finding: str) -> None:
    row = sentences()[finding]
    assert set(row) - {"fault"} == set(LANGUAGES)
    fields = [sorted(name for _, name, _, _ in string.Formatter().parse(row[each]) if name) for each in LANGUAGES]
    assert all(each == fields[0] for each in fields)
    assert len({row[each] for each in LANGUAGES}) == len(LANGUAGES)
    assert all(row[each].endswith("。" if each == "ja" else ".") for each in LANGUAGES)


# No secret.

TOKENS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", min_size=24, max_size=90)
PASSWORDS = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=10, max_size=40).filter(
    lambda secret: not re.search("@.+[.]", secret)  # which nobody can tell from a user
)
LAYOUTS = st.sampled_from(
    [
        xoauth2,
        lambda secret: xoauth2(f"Bearer {secret}"),
        lambda secret: xoauth2(USER, secret),
        oauthbearer,
        lambda secret: oauthbearer(USER, f"n,a={secret},"),
        lambda secret: b64(f"\0{USER}\0{secret}"),
        lambda secret: b64(f"\0{secret}\0{USER}"),
        lambda secret: b64(f"{USER}\0{secret}"),
        lambda secret: b64(f"\0{secret}\0"),
        b64,
        lambda secret: b64(b64(f"\0{USER}\0{secret}")),
        lambda secret: f"AUTH LOGIN {b64(USER)}\n334 {b64('Password:')}\n{b64(secret)}",
        lambda secret: f"AUTH LOGIN {b64(secret)}\n334 {b64('Password:')}\n{b64(USER)}",
        lambda secret: f"AUTH PLAIN {b64(secret)}",
        lambda secret: f"AUTH XOAUTH2 {secret}",
        lambda secret: f"Authorization: Bearer {secret}",
        lambda secret: f"user={USER}^Aauth=Bearer {secret}^A^A",
        lambda secret: json.dumps({"access_token": secret, "refresh_token": f"1//{secret}", "scope": f"a {OF_GOOGLE}"}),
        lambda secret: jwt({**MAIL, "jti": secret}),
        lambda secret: secret,
    ]
)
HARM = st.sampled_from(
    [
        lambda text: text,
        lambda text: text[:-5],
        lambda text: text.rstrip("="),
        wrapped,
        lambda text: f'  "{text}"  ',
        lambda text: text.replace("A", "\x1b[31mA"),
        lambda text: f"\ufeff{text}\0",
    ]
)


@given(st.one_of(TOKENS, PASSWORDS), LAYOUTS, HARM)
def test_no_secret_is_shown(secret: str, layout: Any, harm: Any) -> None:
    shown = "".join(
        json.dumps([each.facts, each.sentence(language)], ensure_ascii=False)
        for piece in decode_pasted(harm(layout(secret)), NOW)
        for each in piece
        for language in LANGUAGES
    )
    assert secret not in shown
    assert SIGNATURE[:20] not in shown


def test_commands_after_the_sign_in_are_no_messages() -> None:
    text = f"AUTH PLAIN {b64(chr(0) + 'scanner' + chr(0) + 'sesame')}\n235 OK\nNOOP\nRSET\nQUIT\nSTAT"
    assert len(decode_pasted(text, NOW)) == 1


def test_a_token_that_the_server_repeats_is_masked() -> None:
    token = "0123456789abcdef0123456789"
    repeated = b64(json.dumps({"status": "400", "scope": f"not {token}"}))
    shown = said(f"AUTH XOAUTH2 {xoauth2(token)}\n334 {repeated}")
    assert token not in shown
    assert "400" in shown


@pytest.mark.parametrize("host", ["smtp.office365.com", "localhost", "192.0.2.1", "[2001:db8::1]"])
def test_the_server_is_shown(host: str) -> None:
    message = b64(f"n,a={USER},\x01host={host}\x01port=587\x01auth=Bearer {OF_GOOGLE}\x01\x01")
    assert f"{host}, port 587" in said(message)
    assert "0123456789abcdef01234" not in said(message.replace(host, "0123456789abcdef01234"))


def test_a_secret_in_a_claim_is_masked() -> None:
    shown = said(jwt({**MAIL, "upn": f"me {OF_GOOGLE}", "tid": "0123456789abcdef" * 5}))
    assert OF_GOOGLE not in shown
    assert "0123456789abcdef" not in shown
    assert "•••" in shown


@given(st.one_of(st.text(max_size=400), st.binary(max_size=400).map(b64)))
def test_whatever_is_pasted(text: str) -> None:
    for piece in decode_pasted(text, NOW):
        assert piece
        for each in piece:
            assert all(each.sentence(language).isprintable() for language in LANGUAGES)


def test_nothing_of_a_hostile_token_reaches_the_terminal() -> None:
    shown = said(
        jwt({**MAIL, "upn": "a\x1b]0;title\x07@example.com", "aud": ["x\r\n[bold]y", "\u202ez"], "scp": "a\nb"})
    )
    assert all(line.isprintable() for line in shown.splitlines())


def test_lists_and_pieces_are_bounded() -> None:
    (piece,) = decode_pasted(jwt({**MAIL, "scp": " ".join(f"s{number}" for number in range(5000))}), NOW)
    assert max(len(each.facts.get("scopes", [])) for each in piece) == MAX_LIST + 1
    assert len(decode_pasted("\n".join([jwt(MAIL) + "=", ""] * 100), NOW)) <= MAX_PIECES


def test_a_user_name_that_may_be_a_secret_is_masked() -> None:
    assert "AKIAIOSFODNN7EXAMPLE" in said(b64("\0AKIAIOSFODNN7EXAMPLE\0sesame"))
    assert "0123456789abcdefghijk" not in said(b64("\x000123456789abcdefghijk\0sesame"))
    assert "sesame" not in said(b64("\0sesame\0sesame"))


# The command.


def test_the_command(tmp_path: Path) -> None:
    done = mailslot("--home", tmp_path, "decode", typed=xoauth2(OF_GOOGLE))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[:2] == [
        "  A sign-in message of the mechanism XOAUTH2.",
        f"  The user name is {USER}.",
    ]
    assert OF_GOOGLE not in done.stdout


def test_the_command_speaks_the_language_and_marks_faults(tmp_path: Path) -> None:
    done = mailslot("--home", tmp_path, "decode", "--language", "de", typed=xoauth2(f"Bearer {OF_GOOGLE}"))
    assert "✗ Das Wort Bearer steht zweimal vor dem Token." in done.stdout.splitlines()
    assert mailslot("--home", tmp_path, "decode", "--language", "tlh", typed="x").returncode == 2


def test_the_command_prints_json(tmp_path: Path) -> None:
    done = mailslot("--home", tmp_path, "decode", "--json", typed=jwt({**MAIL, "exp": 1}))
    (piece,) = json.loads(done.stdout)["pieces"]
    by_name = {each["finding"]: each for each in piece}
    assert by_name["scopes"]["facts"] == {"scopes": ["SMTP.Send", "POP.AccessAsUser.All"]}
    assert by_name["expired"]["fault"]
    unknown = mailslot("--home", tmp_path, "decode", "--json", typed="The moon is in the wrong phase.")
    assert (json.loads(unknown.stdout), unknown.returncode) == ({"pieces": []}, 1)


def test_what_is_not_recognised(tmp_path: Path) -> None:
    done = mailslot("--home", tmp_path, "decode", typed="sesame sesame")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "This is neither a token nor a sign-in message that is known here.\n"


@pytest.mark.parametrize("arguments", [[OF_GOOGLE], ["--", OF_GOOGLE], [f"--{OF_GOOGLE}"], [f"-{OF_GOOGLE}", "x"]])
def test_nothing_is_taken_from_the_command_line(tmp_path: Path, arguments: list[str]) -> None:
    done = mailslot("--home", tmp_path, "decode", *arguments, typed=xoauth2(OF_GOOGLE))
    assert (done.returncode, done.stdout) == (2, "")
    assert "mailslot decode < FILE" in done.stderr
    assert OF_GOOGLE not in done.stderr


@pytest.mark.parametrize("typed", ["", " \n", b"\xff\xfe"])
def test_nothing_at_all(tmp_path: Path, typed: str | bytes) -> None:
    done = mailslot("--home", tmp_path, "decode", typed=typed)
    assert done.returncode in {1, 2}
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_a_terminal_is_not_read(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        code = "import sys; sys.argv[0] = 'mailslot'; from mailslot.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, "--home", str(tmp_path), "decode"],
            stdin=theirs,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "Give the token or the sign-in message on standard input, such as: mailslot decode < FILE"
    ]


def test_a_file_of_powershell(tmp_path: Path) -> None:
    done = mailslot("--home", tmp_path, "decode", typed=f"{xoauth2(OF_GOOGLE)}\r\n".encode("utf-16"))
    assert done.returncode == 0
    assert USER in done.stdout


@pytest.mark.parametrize(
    "octets",
    [
        b"\0",
        bytes(range(256)),
        b"eyJ",
        b"=\n",
        b"bearer ",
        b"eyJ-",
        b"eyJ-.a",
        b"Bearer a.bcdefghi ",
        b"AUTH XOAUTH2\n",
    ],
)
def test_huge_and_binary_input(tmp_path: Path, octets: bytes) -> None:
    done = mailslot("--home", tmp_path, "decode", typed=octets * (MAX_INPUT // len(octets) + 1))
    assert done.returncode in {0, 1}
    assert f"Only the first {MAX_INPUT:,} octets were looked at." in done.stderr
    assert "fault of mailslot" not in done.stderr

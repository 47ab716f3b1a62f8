"""The share of the collected refusals that get the right cause: counted only, so that no rule is tuned to a text."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from diagnosis.collected import smtp_refusals
from diagnosis.collected_answers import pop3_refusals, token_service_refusals
from mailslot.causes.cause import causes
from mailslot.causes.judge import judge
from mailslot.causes.refinement import RefinementContext
from mailslot.causes.refusal import Refusal
from mailslot.causes.rules import table
from mailslot.oauth.response import TokenServiceResponse
from mailslot.oauth.response_body import parse_json_object, reject_foreign_page
from mailslot.oauth.token_errors import DEVICE_CODE_GRANT, TokenServiceError, classify_error
from mailslot.pop3.replies import parse_status
from mailslot.wire.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diagnosis.collected import Part
    from mailslot.causes.refusal import Presented

PRESENTED: Final[dict[str, Presented | None]] = {"password": "password", "oauth2": "token", "none": None}

GRANTS: Final = {
    "refresh": "refresh_token",
    "device_code": DEVICE_CODE_GRANT,
    "device_authorization": DEVICE_CODE_GRANT,
    "authorization_code": "authorization_code",
    "client_credentials": "client_credentials",
    "revocation": "",
}

FINER: Final = {
    # Causes that are finer than those there were when the texts were judged.
    "relay_denied": {"recipient_refused", "authentication_required"},
    "web_login_required": {"account_locked", "sign_in_blocked_by_policy"},
}

LEAST: Final[dict[Part, float]] = {"seen": 0.98, "third": 0.97, "fourth": 0.97, "unseen": 0.90, "fifth": 0.93}
"""How many of a hundred have to be right."""

Told = tuple[str, frozenset[str]]


def refined(cause: str, authentication: str, protocol: Any) -> str:
    """Return the cause in view of what is set; nothing is known of the token and of the provider."""
    known = RefinementContext(
        protocol=protocol,
        authentication=authentication,
        token_length=100,
        read_token=lambda: None,
        provider=lambda: None,
    )
    return next((row.cause for row in table().refinements if row.fits(cause, known)), cause)


def members_of(challenge: str) -> dict[str, str]:
    return {name: str(value) for name, value in json.loads(challenge).items()} if challenge else {}


def told_over_smtp(half: Part) -> Iterator[Told]:
    for each in smtp_refusals(half):
        refusal = Refusal(
            protocol="SMTP",
            stage=cast("Any", each.stage),
            reply=Reply(each.code, each.enhanced or None, each.text, positive=False),
            verb=each.verb if each.verb in {"MAIL", "RCPT"} else "",
            presented=PRESENTED[each.authentication] if each.stage == "sign_in" else None,
            challenge=members_of(each.challenge),
        )
        yield refined(judge(refusal).cause, each.authentication, "SMTP"), each.accepted_causes


def told_over_pop3(half: Part) -> Iterator[Told]:
    for each in pop3_refusals(half):
        if each.line:
            # It is no answer of POP3, which the core says (tests/pop3).
            continue
        refusal = Refusal(
            protocol="POP3",
            stage=cast("Any", each.stage),
            reply=parse_status(f"-ERR {each.text}".encode()),
            presented=PRESENTED[each.authentication] if each.stage == "sign_in" else None,
            challenge=members_of(each.challenge),
        )
        yield refined(judge(refusal).cause, each.authentication, "POP"), each.accepted_causes


def told_by_token_services(half: Part) -> Iterator[Told]:
    for each in token_service_refusals(half):
        response = TokenServiceResponse(each.status, parse_json_object(each.body.encode()))
        obtained_by = "device" if each.grant == "device_code" else ""
        try:
            reject_foreign_page(each.status, {"content-type": each.content_type}, each.body.encode(), "h")
            found = classify_error(response, GRANTS[each.request], obtained_by=obtained_by)
        except TokenServiceError as error:
            found = error
        yield found.cause, each.accepted_causes


def is_right(cause: str, right: frozenset[str]) -> bool:
    return cause in right or not right.isdisjoint(FINER.get(cause, set()))


@pytest.mark.parametrize("half", LEAST)
def test_most_refusals_get_the_right_cause(half: Part) -> None:
    result = list(chain(told_over_smtp(half), told_over_pop3(half), told_by_token_services(half)))
    assert len(result) > (550 if half in {"seen", "unseen"} else 200)
    rate = sum(is_right(*each) for each in result) / len(result)
    assert rate >= LEAST[half], f"{rate:.1%} of {len(result)}"


@pytest.mark.parametrize("half", LEAST)
def test_nobody_is_sent_for_a_token_in_vain(half: Part) -> None:
    """Of what no row was written for, at most one of a hundred is told to obtain the token again in vain."""
    result = list(chain(told_over_smtp(half), told_over_pop3(half), told_by_token_services(half)))
    in_vain = [
        cause
        for cause, right in result
        if causes()[cause].token_helps and not any(causes()[each].token_helps for each in right)
    ]
    assert len(in_vain) <= (len(result) / 100 if half in {"unseen", "fifth"} else 0), in_vain

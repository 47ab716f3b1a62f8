"""Authorization code by a browser whose answer the panel takes: from its own address, or pasted by the person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from mailslot.errors import TokenError
from mailslot.oauth.refresh_token_flow import RefreshTokenFlow
from mailslot.oauth.token_response import new_grant
from mailslot_plugins.tokens.authorization import SIGN_IN_TIMEOUT, AuthorizationAttempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.flow import AddressDisplay
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.http import TokenHttp

LATE: Final = "late"
"""The detail of the error for a sign-in that nobody finished in time."""


class Question:
    """What was asked of a provider, and takes one answer.

    Args:
        attempt: what an answer must fit to.
    """

    def __init__(self, attempt: AuthorizationAttempt) -> None:
        self.attempt = attempt
        self._answer: Mapping[str, str] | None = None
        self._answered = anyio.Event()

    def takes(self, parameters: Mapping[str, str]) -> bool:
        """Take the parameters of a redirection if they are the answer, and the first one; return whether they are."""
        if self._answer is not None or not self.attempt.matches(parameters):
            return False
        self._answer = parameters
        self._answered.set()
        return True

    async def answer(self, within: float) -> Mapping[str, str]:
        """Wait for the answer, so many seconds.

        Raises:
            TokenError: none came.
        """
        with anyio.move_on_after(within):
            await self._answered.wait()
        if self._answer is None:
            sentence = f"Nobody finished the sign-in within {within / 60:.0f} minutes."
            raise TokenError(sentence, cause="token_not_retrieved", detail=LATE)
        return self._answer


@dataclass(frozen=True)
class AnsweredFlow(RefreshTokenFlow):
    """The flows ``browser`` and ``paste``, as the panel goes through them.

    Attributes:
        name: which of the two.
        redirect_uri: where the browser is sent with the answer.
        ask: is told what was asked, before the person is shown where to sign in.
        within: seconds that the sign-in may take.
    """

    name: str
    redirect_uri: str
    ask: Callable[[Question], None]
    within: float = SIGN_IN_TIMEOUT

    async def obtain(self, client: OAuthClient, http: TokenHttp, person: AddressDisplay) -> Grant:
        """Show the person an address, and wait for the answer that somebody brings to the question.

        Raises:
            InputError: the provider does not allow this flow.
            TokenError: there is no token; with its cause.
        """
        client.provider.check_flow(self.name)
        question = Question(AuthorizationAttempt(client, self.redirect_uri))
        self.ask(question)
        await person.show_address(question.attempt.url)
        code = question.attempt.code(await question.answer(self.within))
        return new_grant(self.name, client, http, await question.attempt.redeem(code, http))

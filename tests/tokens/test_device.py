"""The device flow at the sandbox: polling intervals, its ends, and odd responses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from mailslot import InputError, MailError, TokenError
from mailslot.oauth.providers import Endpoints
from mailslot.oauth.token_errors import TokenServiceError
from mailslot.wire.secret import Secret
from mailslot_plugins.sandbox import GOOGLE, PORTAL, ScriptedResponse, WebFault
from mailslot_plugins.tokens.device import DeviceFlow
from tokens.people import USER, NoPrompt, enter_code, until

if TYPE_CHECKING:
    from mailslot.oauth.client import OAuthClient
    from mailslot.oauth.flow import UserCode
    from mailslot.oauth.grant import Grant
    from mailslot.oauth.http import TokenHttp
    from mailslot_plugins.sandbox import Sandbox

pytestmark = pytest.mark.virtual_time

TOKEN = "token urn:ietf:params:oauth:grant-type:device_code"


@dataclass
class KeepsCode(NoPrompt):
    """Keeps the code that is shown, and does nothing with it."""

    shown: list[UserCode] = field(default_factory=list)

    async def show_code(self, code: UserCode) -> None:
        self.shown.append(code)


@dataclass
class VirtualDeviceFlow:
    """A device flow whose waits take no time; before each question something may happen.

    Attributes:
        waits: the seconds of each wait.
        events: by the number of the wait, from 1.
    """

    person: KeepsCode = field(default_factory=KeepsCode)
    events: dict[int, Any] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        if event := self.events.get(len(self.waits)):
            await event()

    async def obtain(self, client: OAuthClient, http: TokenHttp) -> Grant:
        with anyio.fail_after(10):
            return await DeviceFlow(sleep=self.sleep).obtain(client, http, self.person)

    async def approve(self) -> None:
        await enter_code(self.person.shown[0])

    async def decline(self) -> None:
        await enter_code(self.person.shown[0], decision="deny")


@pytest.fixture
def patient(sandbox: Sandbox) -> Sandbox:
    """A sandbox that leaves it to the client how often it asks."""
    sandbox.token_service.faults.append(
        WebFault("device_authorization", alter=lambda answer: {k: v for k, v in answer.items() if k != "interval"})
    )
    sandbox.token_service.authorizations.interval = 0
    return sandbox


async def test_a_sign_in_in_real_time(sandbox: Sandbox, panel: OAuthClient, http: TokenHttp) -> None:
    sandbox.token_service.authorizations.interval = 0.05
    person = KeepsCode()
    grants: list[Grant] = []

    async def obtain() -> None:
        grants.append(await DeviceFlow().obtain(panel, http, person))

    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(obtain)
        await until(lambda: bool(person.shown))
        await enter_code(person.shown[0])
    [grant], [code] = grants, person.shown
    assert (grant.flow, grant.account) == ("device", USER)
    assert grant.access_token
    assert sandbox.provider.check(grant.access_token.reveal(), USER, "mail.pop") is None
    assert code.verification_uri == f"{sandbox.issuer}/device"
    assert code.verification_uri_complete == f"{sandbox.issuer}/device?user_code={code.user_code}"
    assert abs(code.expires_at - began - 900) < 5
    [device] = sandbox.token_service.authorizations.devices
    assert device.code not in repr(code)
    assert not any("slow_down" in request for request in sandbox.token_service.requests)


async def test_the_intervals(patient: Sandbox, panel: OAuthClient, http: TokenHttp) -> None:
    """Five seconds by default, five more for good with each slow_down, twice as many after no answer."""
    slow = ScriptedResponse(400, {"error": "slow_down"})
    patient.token_service.faults += [
        WebFault("token", nth=2, act=False, answer=slow),
        WebFault("token", nth=4, act=False, answer=slow),
        WebFault("token", nth=5, act=False, answer=ScriptedResponse(500, {})),
        WebFault("token", nth=6, act=False, cut=True),
        WebFault("token", nth=7, act=False, answer=PORTAL),
        WebFault("token", nth=8, act=False, answer=ScriptedResponse(429, {}, {"Retry-After": "77"})),
    ]
    played = VirtualDeviceFlow()
    played.events[9] = played.approve
    assert (await played.obtain(panel, http)).access_token
    assert played.waits == [5, 5, 10, 10, 15, 30, 60, 60, 77]


async def test_a_timeout_is_treated_as_pending(patient: Sandbox, panel: OAuthClient) -> None:
    from mailslot.oauth.http import TokenHttp  # noqa: PLC0415 - one with even less patience

    patient.token_service.faults.append(WebFault("token", nth=1, act=False, delay=math.inf))
    played = VirtualDeviceFlow()
    played.events[2] = played.approve
    async with TokenHttp(timeout=0.2, trust_env=False) as http:
        assert (await played.obtain(panel, http)).access_token
    assert played.waits == [5, 10]


@pytest.mark.parametrize(
    ("interval", "first"),
    [
        (0, 5),
        (7, 7),
        (7.5, 7.5),
        ("8", 8),
        (-1, 5),
        (None, 5),
        (True, 5),
        ("x", 5),
        ("1e400", 5),
        ([], 5),
        (1e-9, 0.05),
    ],
)
async def test_intervals_as_servers_write_them(
    sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, interval: object, first: float
) -> None:
    sandbox.token_service.authorizations.interval = 0
    sandbox.token_service.faults.append(
        WebFault("device_authorization", alter=lambda answer: {**answer, "interval": interval})
    )
    played = VirtualDeviceFlow()
    played.events[1] = played.approve
    await played.obtain(panel, http)
    assert played.waits == [first]


@pytest.mark.parametrize(
    ("expires_in", "seconds"), [("900", 900), (60, 60), (None, 600), (-5, 600), ("soon", 600), (10**30, 3600)]
)
async def test_lifetimes_as_servers_write_them(
    sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, expires_in: object, seconds: float
) -> None:
    sandbox.token_service.authorizations.interval = 0
    sandbox.token_service.faults.append(
        WebFault("device_authorization", alter=lambda answer: {**answer, "expires_in": expires_in})
    )
    played = VirtualDeviceFlow()
    played.events[1] = played.approve
    await played.obtain(panel, http)
    assert abs(played.person.shown[0].expires_at - anyio.current_time() - seconds) < 5


async def test_google_calls_it_verification_url(patient: Sandbox, panel: OAuthClient, http: TokenHttp) -> None:
    def as_google(answer: dict[str, Any]) -> dict[str, Any]:
        left_out = {"verification_uri", "verification_uri_complete"}
        kept = {key: value for key, value in answer.items() if key not in left_out}
        return {**kept, "verification_url": answer["verification_uri"]}

    patient.token_service.faults.insert(0, WebFault("device_authorization", alter=as_google))
    played = VirtualDeviceFlow()
    played.events[1] = played.approve
    await played.obtain(panel, http)
    assert played.person.shown[0].verification_uri == f"{patient.issuer}/device"
    assert played.person.shown[0].verification_uri_complete is None


async def test_an_untrusted_verification_uri_complete(patient: Sandbox, panel: OAuthClient, http: TokenHttp) -> None:
    there = "http://evil.example/device?user_code=X"
    patient.token_service.faults.insert(
        0, WebFault("device_authorization", alter=lambda answer: {**answer, "verification_uri_complete": there})
    )
    played = VirtualDeviceFlow()
    played.events[1] = played.approve
    await played.obtain(panel, http)
    assert played.person.shown[0].verification_uri_complete is None


@pytest.mark.parametrize(
    "changed",
    [
        dict.fromkeys(("device_code", "user_code", "verification_uri"), None),
        {"device_code": ""},
        {"device_code": 5},
        {"device_code": "\ud800"},
        {"device_code": "a\r\nb"},
        {"user_code": None},
        {"verification_uri": "http://evil.example/"},
        {"verification_uri": ["https://login.example"]},
        {"verification_uri": "javascript:alert(1)"},
    ],
)
async def test_responses_with_missing_members(
    sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, changed: dict[str, object]
) -> None:
    sandbox.token_service.faults.append(WebFault("device_authorization", alter=lambda answer: {**answer, **changed}))
    with pytest.raises(TokenServiceError, match="without a code, or without an address") as refused:
        await VirtualDeviceFlow().obtain(panel, http)
    [device] = sandbox.token_service.authorizations.devices
    assert device.code not in refused.value.detail


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (GOOGLE["device code for mail"], "scope_wrong"),
        (ScriptedResponse(401, {"error": "invalid_client"}), "app_secret_invalid"),
        (ScriptedResponse(200, {"error": "unauthorized_client"}), "app_type_wrong"),
        (ScriptedResponse(200, b"[]"), "not_a_token_service"),
        (ScriptedResponse(503, {}), "token_service_busy"),
        (PORTAL, "not_a_token_service"),
    ],
)
async def test_the_device_code_request_is_refused(
    sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, answer: ScriptedResponse, cause: str
) -> None:
    sandbox.token_service.faults.append(WebFault("device_authorization", act=False, answer=answer))
    with pytest.raises(TokenServiceError) as refused:
        await VirtualDeviceFlow().obtain(panel, http)
    assert refused.value.cause == cause


async def test_declined(patient: Sandbox, panel: OAuthClient, http: TokenHttp) -> None:
    played = VirtualDeviceFlow()
    played.events[3] = played.decline
    with pytest.raises(TokenServiceError, match="declined") as refused:
        await played.obtain(panel, http)
    assert refused.value.cause == "token_not_retrieved"
    assert patient.token_service.requests == [
        "device_authorization 200",
        f"{TOKEN} 400",
        f"{TOKEN} 400",
        f"{TOKEN} 400",
    ]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("authorization_declined", "token_not_retrieved"),
        ("bad_verification_code", "token_not_retrieved"),
        ("expired_token", "token_not_retrieved"),
        ("invalid_grant", "token_not_retrieved"),
        ("invalid_client", "app_secret_invalid"),
        ("never heard of", "unknown"),
    ],
)
async def test_any_other_error_stops_at_once(
    patient: Sandbox, panel: OAuthClient, http: TokenHttp, error: str, cause: str
) -> None:
    patient.token_service.faults.append(WebFault("token", act=False, answer=ScriptedResponse(400, {"error": error})))
    played = VirtualDeviceFlow()
    with pytest.raises(TokenServiceError) as refused:
        await played.obtain(panel, http)
    assert refused.value.cause == cause
    assert len(played.waits) == 1


@pytest.mark.parametrize("told", [True, False])
async def test_the_code_expires(sandbox: Sandbox, panel: OAuthClient, http: TokenHttp, told: bool) -> None:
    """Whether the service says so, or only our own clock."""
    sandbox.token_service.authorizations.interval = 0.05
    sandbox.token_service.authorizations.device_lifetime = 0.2
    if not told:
        pending = ScriptedResponse(400, {"error": "authorization_pending"})
        sandbox.token_service.faults.append(WebFault("token", act=False, answer=pending))
    with pytest.raises(TokenError) as refused, anyio.fail_after(20):
        await DeviceFlow().obtain(panel, http, KeepsCode())
    assert refused.value.cause == "token_not_retrieved"
    assert "code" in str(refused.value)


async def test_an_authorization_at_the_last_moment_is_accepted(
    sandbox: Sandbox, panel: OAuthClient, http: TokenHttp
) -> None:
    """The last question comes when the code ends, not an interval before."""
    sandbox.token_service.faults.append(
        WebFault("device_authorization", alter=lambda answer: {**answer, "expires_in": 7, "interval": 5})
    )
    sandbox.token_service.authorizations.interval = 0
    played = VirtualDeviceFlow()
    played.events[1] = played.approve
    sandbox.token_service.authorizations.device_lifetime = 60
    await played.obtain(panel, http)
    assert played.waits == [5]


async def test_a_service_that_wants_to_be_left_alone_for_longer_than_the_code_is_valid(
    patient: Sandbox, panel: OAuthClient, http: TokenHttp
) -> None:
    """It is asked once more when the code ends, since the person may have signed in meanwhile."""
    busy = ScriptedResponse(503, {}, {"Retry-After": "86400"})
    patient.token_service.faults.append(WebFault("token", nth=1, act=False, answer=busy))
    played = VirtualDeviceFlow()
    played.events[2] = played.approve
    assert (await played.obtain(panel, http)).access_token
    assert played.waits == [5, pytest.approx(900, abs=60)]


async def test_cancellation_ends_it(patient: Sandbox, panel: OAuthClient, http: TokenHttp) -> None:
    person = KeepsCode()
    with anyio.move_on_after(32) as scope:
        await DeviceFlow(interval=10).obtain(panel, http, person)
    assert scope.cancelled_caught
    asked = len(patient.token_service.requests)
    assert asked == 4  # for the code, and three times for the token
    await anyio.sleep(600)
    assert len(patient.token_service.requests) == asked


async def test_a_confidential_client_authenticates(patient: Sandbox, panel: OAuthClient, http: TokenHttp) -> None:
    patient.provider.register("kiosk", "s3cret")
    played = VirtualDeviceFlow()
    played.events[1] = played.approve
    kiosk = replace(panel, client_id="kiosk", client_secret=Secret("s3cret"))
    assert (await played.obtain(kiosk, http)).access_token
    with pytest.raises(TokenServiceError) as refused:
        await VirtualDeviceFlow().obtain(replace(kiosk, client_secret=Secret("wrong")), http)
    assert refused.value.cause == "app_secret_invalid"


async def test_providers_that_do_not_allow_it(panel: OAuthClient, http: TokenHttp) -> None:
    without = replace(panel.provider, endpoints=replace(panel.provider.endpoints, device_authorization=None))
    refusing = replace(panel.provider, refused_flows={"device": "Google does not allow it."})
    unknown = replace(panel.provider, endpoints=Endpoints(issuer="https://login.example"))  # before discovery
    for provider in (without, refusing, unknown):
        with pytest.raises(InputError) as refused:
            await VirtualDeviceFlow().obtain(replace(panel, provider=provider), http)
        assert isinstance(refused.value, MailError)

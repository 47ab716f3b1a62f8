"""What a token is for: resources by their ids and addresses, in tokens and in what servers say."""

from __future__ import annotations

import pytest

from mailslot.oauth.presets import presets
from mailslot.oauth.resources import (
    find_foreign_resource,
    find_resource,
    name_resource,
    parse_resources,
    resources,
)


@pytest.mark.parametrize(
    ("audience", "name"),
    [
        ("00000003-0000-0000-c000-000000000000", "Microsoft Graph"),
        ("https://graph.microsoft.com", "Microsoft Graph"),
        ("https://graph.microsoft.com/", "Microsoft Graph"),
        ("HTTPS://Graph.Microsoft.com", "Microsoft Graph"),
        ("00000002-0000-0000-c000-000000000000", "Azure AD Graph"),
        ("https://graph.windows.net", "Azure AD Graph"),
        ("spn:00000002-0000-0000-c000-000000000000", "Azure AD Graph"),
        ("00000002-0000-0ff1-ce00-000000000000", "Exchange Online"),
        ("00000002-0000-0ff1-ce00-000000000000/outlook.office365.com@contoso.example", "Exchange Online"),
        ("https://outlook.office.com", "Exchange Online"),
        ("https://outlook.office365.com:443/", "Exchange Online"),
        ("https://ps.outlook.com", "Exchange Online"),
        ("https://outlook.office365.us", "Exchange Online (US Government)"),
        ("https://partner.outlook.cn/", "Exchange Online (21Vianet)"),
        ("797f4846-ba00-4fd7-ba43-dac1f8f63013", "Azure Resource Manager"),
        ("https://contoso.sharepoint.com/sites/x", "SharePoint and OneDrive"),
        ("https://sharepoint.com.evil.example", "https://sharepoint.com.evil.example"),
        ("api://00000003-0000-0000-c000-000000000000", "Microsoft Graph"),
        ("9f3c0000-0000-0000-0000-00000000abcd", "9f3c0000-0000-0000-0000-00000000abcd"),
        ("", ""),
    ],
)
def test_a_resource_by_id_or_address(audience: str, name: str) -> None:
    assert name_resource(audience) == name
    found = find_resource(audience)
    assert found is None or found.name == name


INVALID_RESOURCE = (
    "AADSTS650057: Invalid resource. Client app ID: 00000000-0000-0000-0000-00000000a001(mailslot). Resource value "
    "from request: https://graph.microsoft.com. Resource app ID: 00000003-0000-0000-c000-000000000000."
)
WRONG_AUDIENCE = (
    "The audience claim value is invalid for current resource. Audience claim is 'https://graph.microsoft.com/', "
    "request url is 'https://outlook.office.com' and resource type is 'Exchange'."
)


@pytest.mark.parametrize(
    ("server_text", "name"),
    [
        (INVALID_RESOURCE, "Microsoft Graph"),
        (WRONG_AUDIENCE, "Microsoft Graph"),
        ("Resource app ID: 00000002-0000-0000-c000-000000000000. List of valid resources", "Azure AD Graph"),
        ("the scope https://graph.microsoft.com/SMTP.Send is not valid", "Microsoft Graph"),
        ("scopes https://analysis.windows.net/powerbi/api/.default", "Power BI"),
        ("Resource value from request: https://analysis.windows.net/powerbi/api.", "Power BI"),
        ("https://outlook.office365.com. Resource app ID: 00000002-0000-0ff1-ce00-000000000000.", None),
        ("535 5.7.3 Authentication unsuccessful", None),
        ("a00000003-0000-0000-c000-000000000000", None),
    ],
)
def test_a_foreign_resource_in_a_text(server_text: str, name: str | None) -> None:
    found = find_foreign_resource(server_text)
    assert (found and found.name) == name


def test_each_resource_has_a_source_and_a_unique_name() -> None:
    rows = resources().values()
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.source for row in rows)
    assert all(row.name.isascii() for row in rows)  # they are the same in every language


def test_mail_services_of_microsoft_have_a_resource() -> None:
    for provider in presets().values():
        for service in (provider.smtp, provider.pop, provider.imap):
            if provider.id.startswith("microsoft365"):
                assert service is not None
                assert service.resource is not None
                assert resources()[service.resource].mail


ROW = '[{0}]\nname = "{0}"\naudiences = ["{1}"]\nsource = "s"\n'


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('[a]\nname = "A"\naudiences = ["https://a"]', "source"),
        ('[a]\nname = "A"\naudiences = ["https://a"]\nsource = "s"\nmore = 1', "more"),
        ('[a]\nname = "A"\naudiences = 7\nsource = "s"', "7"),
        (ROW.format("a", "https://a/") + ROW.format("b", "https://A"), "same audience"),
    ],
)
def test_a_wrong_table_is_refused(written: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_resources(written)

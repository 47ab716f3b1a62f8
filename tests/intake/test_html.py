"""The visible text of HTML."""

from __future__ import annotations

import time

import pytest

from mailslot_plugins.intake.html_text import html_to_text
from mailslot_plugins.status.request import Request, parse_request


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<!--[if gte mso 9]><xml><o:Office>junk</o:Office></xml><![endif]--><p>status</p>", "status"),
        ("<!--[if !mso]><!--><p>status</p><!--<![endif]-->", "status"),
        ("<![if !mso]><p>status</p><![endif]>", "status"),
        ("<!-- a > b --><p>status</p>", "status"),
        ("<p>a</p><!-- open", "a"),
        ("a<!-->b<!--->c", "abc"),
        ('<div style="display:none;font-size:1px">Preview text</div><p>status</p>', "status"),
        ("<div style='DISPLAY : NONE'>x<div>y</div>z</div>status", "status"),
        ('<span style="visibility:hidden">x</span>status', "status"),
        ('<div style="max-height:0;overflow:hidden">x</div>status', "status"),
        ('<div style="opacity:0">x</div><b style="opacity:0.5">status</b>', "status"),
        ("<p hidden>x</p><p>status</p>", "status"),
        ("<p hidden>x<p>status", "status"),
        ('<td style="font-size:0"><div style="font-size:14px">status</div></td>', "status"),
        ('<a title="display:none" href="hidden">status</a>', "status"),
        ('<img alt=x style="display:none">status', "status"),
        ("<head><title>no</title><style>p{}</style><p>status", "status"),
        ("<title>no</title><body>status</body>", "status"),
        ("<template>no</template><select><option>no</select>status", "status"),
        (f'<img src="data:image/png;base64,{"A" * 9000}">status', "status"),
        ("st&#8203;atus&nbsp;&zwnj;".replace("&zwnj;", ""), "status"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\n\nc"),
        ("1 &lt; 2 and 3 < 4", "1 < 2 and 3 < 4"),
        ("</div></p>status</b>", "status"),
    ],
)
def test_visible_text(source: str, text: str) -> None:
    assert html_to_text(source) == text


def test_a_request_in_html() -> None:
    source = (
        "<html><head><style>x</style><!--[if mso]><p>no</p><![endif]--></head><body>"
        '<div style="display:none">You have mail</div><table><tr><td><p>status&nbsp;supplies</p></td></tr></table>'
    )
    assert parse_request("", html_to_text(source).splitlines()) == Request(("supplies",))


@pytest.mark.parametrize(
    "piece", ["<div>", "<p hidden>", "<", "<!--", "</x>", "<div style=display:none>", '<a b="', "&#"]
)
def test_hostile_html_takes_no_time(piece: str) -> None:
    began = time.process_time()
    html_to_text(piece * (400_000 // len(piece)))
    assert time.process_time() - began < 10

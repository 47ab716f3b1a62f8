"""The web pages of the loopback listener; they contain no secret."""

from __future__ import annotations

import html
from typing import Final

_HEAD: Final = (
    "HTTP/1.1 {status}\r\n"
    "Content-Type: text/html; charset=utf-8\r\n"
    "Content-Length: {length}\r\n"
    "Cache-Control: no-store\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Connection: close\r\n"
    "\r\n"
)
_BODY: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  :root {{ color-scheme: light dark; font: 18px/1.5 system-ui, sans-serif; }}
  body {{ display: grid; place-content: center; min-height: 90vh; max-width: 32rem; margin: auto; padding: 1rem; }}
  h1 {{ font-size: 1.6rem; margin: 0 0 .5rem; }}
  p {{ margin: 0; }}
</style>
<h1>{title}</h1>
<p>{text}</p>
</html>
"""


def http_page(status: str, title: str, text: str) -> bytes:
    """Return a complete HTTP response with a page.

    Args:
        status: the status code and reason phrase, such as ``"200 OK"``.
        title: a heading.
        text: a sentence or two.
    """
    body = _BODY.format(title=html.escape(title), text=html.escape(text)).encode()
    return _HEAD.format(status=status, length=len(body)).encode() + body


SIGNED_IN: Final = http_page(
    "200 OK",
    "You have signed in",
    "The token is being fetched now. You can close this page and go back to where you started.",
)
OTHER_ATTEMPT: Final = http_page(
    "400 Bad Request",
    "This belongs to another sign-in",
    "The answer that brought you here is not to the sign-in that is going on now. Use the newest address.",
)
NOT_FOUND: Final = http_page("404 Not Found", "Nothing here", "This address only waits for the end of a sign-in.")


def sign_in_failed(sentence: str) -> bytes:
    """Return the response for a failed sign-in."""
    return http_page("200 OK", "The sign-in did not work", f"{sentence} You can close this page.")

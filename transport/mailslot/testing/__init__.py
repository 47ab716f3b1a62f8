r"""A scripted mail server, for tests of programs that use this library.

`scripted_server` sends the server's lines of a script and checks the client's lines. It listens on a real socket on
loopback, so the tested client needs no injected stream, and TLS, closing and resetting are those of the system.

A script has a line for each step, and may be indented as a whole:

| line | meaning |
|---|---|
| `S: text` | the server sends a line; consecutive lines are sent together |
| `S~ text` | the same without CRLF, for an incomplete line |
| `C: text` | the client has to send this line |
| `C: {message}` | the client has to send a message, dots stuffed, and the final dot |
| `C: {octets}` | the client has to send the message unchanged (BDAT) |
| `!tls` `!starttls` | the TLS handshake: as the first step, or after STARTTLS |
| `!close` `!reset` | the server closes the connection, or resets it |
| `!silence` | the server sends nothing more and keeps the connection open |
| `!connection` | the client connects again; the following steps belong to the new connection |
| `# text` | a comment |

An additional `S:` line after a complete reply is a surplus reply, which a client must refuse. In `S:` and `C:` lines,
`\xNN` is an octet, and there are these placeholders:

| placeholder | meaning |
|---|---|
| `{any}` | (in `C:` only) any text within the line |
| `{b64:text}` | text in base64, up to the last brace of the line; it may contain other placeholders |
| `{2000*x}` | `x` repeated 2000 times |
| `{port}` | the server's port, for OAUTHBEARER |
| `{size}` | the size of the message in octets |
| `{message}` | (POP3, in `S:`) the message, dots stuffed, and the final dot |
"""

from __future__ import annotations

from mailslot.testing.script import Step, parse_script
from mailslot.testing.server import ScriptedServer, ScriptError, scripted_server

__all__ = ["ScriptError", "ScriptedServer", "Step", "parse_script", "scripted_server"]

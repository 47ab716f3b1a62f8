r"""A scripted mail server, for the tests of whoever uses this library.

`scripted_server` says what a script says, and checks what the client says. It listens on a real socket on loopback: the
client under test needs no place to put a stream in, and TLS, a close and a reset are the system's own.

A script has a line for each thing that happens, and may be indented as a whole:

| line | what |
|---|---|
| `S: text` | the server sends a line; lines that follow each other are sent at once |
| `S~ text` | the same without its CRLF: what follows, or the end, cuts it |
| `C: text` | the client has to send this line |
| `C: {message}` | the client has to send a message, dots stuffed, and the final dot |
| `C: {octets}` | the client has to send the message as it is (BDAT) |
| `!tls` `!starttls` | the handshake, before the first line or where it stands |
| `!close` `!reset` | the server closes the connection, or resets it |
| `!silence` | the server says nothing more and keeps the connection |
| `!connection` | the client connects again; what follows is said there |
| `# text` | a comment |

One `S:` line more than a reply has makes octets to spare, which a client must refuse. In `S:` and `C:` lines, `\xNN` is
an octet, and these stand for something:

| placeholder | what |
|---|---|
| `{any}` | (in `C:` only) anything within the line |
| `{b64:text}` | text in base64; it reaches to the last brace of the line, and may hold other placeholders |
| `{2000*x}` | 2000 times `x` |
| `{port}` | the server's port, which OAUTHBEARER names |
| `{size}` | the message's octets |
| `{message}` | (POP3, in `S:`) the message, dots stuffed, and the final dot |
"""

from __future__ import annotations

from mailslot.testing.script import Step, parse_script
from mailslot.testing.server import ScriptedServer, ScriptError, scripted_server

__all__ = ["ScriptError", "ScriptedServer", "Step", "parse_script", "scripted_server"]

"""A token service, an SMTP and a POP3 server in one process, for the demo and the tests."""

from mailslot_plugins.sandbox.faults import Fault
from mailslot_plugins.sandbox.personality import DOVECOT, EXCHANGE, GMAIL, Personality, ProtocolBehavior
from mailslot_plugins.sandbox.sandbox import Sandbox, run_sandbox
from mailslot_plugins.sandbox.web_faults import ENTRA, GOOGLE, PORTAL, ScriptedResponse, WebFault

__all__ = [
    "DOVECOT",
    "ENTRA",
    "EXCHANGE",
    "GMAIL",
    "GOOGLE",
    "PORTAL",
    "Fault",
    "Personality",
    "ProtocolBehavior",
    "Sandbox",
    "ScriptedResponse",
    "WebFault",
    "run_sandbox",
]

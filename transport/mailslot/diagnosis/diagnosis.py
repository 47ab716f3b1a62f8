"""A diagnosis: a cause of the catalogue, and the facts for its sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A cause of the catalogue and its facts (design, section 7).

    Attributes:
        cause: its id.
        facts: values for the sentence's placeholders, by name; any of them may be missing. ``host``, ``port``,
            ``account``, ``sender``, ``recipient``, ``provider`` (its name for people), ``owner`` (whose the token is),
            ``words`` (the mail server's reply), ``token_words`` (the token service's response), ``reason`` (our own
            sentence, if no server sent one), ``missing`` (the setting that is not set), ``minutes``,
            ``hours`` or ``days`` (how wrong the clock is), ``security_now`` and ``security_right`` (``none``,
            ``starttls`` or ``tls``), ``seconds`` (the timeout that passed), ``seen_name`` (the name in a
            certificate), ``until`` (its end, or its beginning if it is not valid yet), ``size`` and ``limit`` (of
            a message, with their unit), ``resource`` (what the token is for, if it is not for mail, such as
            ``Microsoft Graph``), ``door`` (the host, if it closed before its greeting); and settings that are correct
            already: ``own_address`` (the sender's, if it is the account's), ``encrypted_now``, ``signed_in_as``,
            ``oauth_account`` and ``default_scopes`` (that the scopes are the provider's); and the provider's server
            that is nearest to what is set: ``published_server``, ``published_port`` and ``published_security``.
        detail: for an engineer; may be empty. It contains no secret.
    """

    cause: str
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    detail: str = ""

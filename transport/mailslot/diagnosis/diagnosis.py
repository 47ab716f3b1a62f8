"""A diagnosis: which of the causes of the catalogue it is, and what its sentence is filled with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One cause of the catalogue (design, section 7).

    Attributes:
        cause: its id.
        facts: what its sentence may be filled with, by name; any of them may be missing. ``host``, ``port``,
            ``account``, ``sender``, ``recipient``, ``provider`` (its name for people), ``owner`` (whose the token is),
            ``words`` (what the mail server said), ``token_words`` (what the token service said), ``reason`` (our own
            sentence, where nobody else said anything), ``missing`` (the setting that is not set), ``minutes``,
            ``hours`` or ``days`` (how wrong the clock is), ``security_now`` and ``security_right`` (``none``,
            ``starttls`` or ``tls``), ``seconds`` (after which a wait was given up), ``seen_name`` (the name in a
            certificate), ``until`` (its end, or its beginning where it is not valid yet), ``size`` and ``limit`` (of
            a message, with their unit), ``resource`` (what the token is or was to be for, where that is not mail, such
            as ``Microsoft Graph``), ``door`` (the host, where it hung up before it greeted); and what is set
            already: ``own_address`` (the sender's, where it is the account's), ``encrypted_now``, ``signed_in_as``
            and ``oauth_account``.
        detail: for an engineer; may be empty. It bears no secret.
    """

    cause: str
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    detail: str = ""

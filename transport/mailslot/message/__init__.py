"""RFC 5322 messages built as a stream, with their exact size known beforehand."""

from mailslot.message.attachment import Attachment
from mailslot.message.mailbox import Mailbox
from mailslot.message.message import Message

__all__ = ["Attachment", "Mailbox", "Message"]

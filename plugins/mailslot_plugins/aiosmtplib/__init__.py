"""SMTP through aiosmtplib (``submitter = "aiosmtplib"``), on asyncio only.

aiosmtplib sends commands and starts TLS. What it lacks is added here: the protocol core of `mailslot.smtp` checks every
reply, messages are streamed, and any error other than a refusal closes the connection.
"""

"""SMTP through aiosmtplib, for those who want that client: ``submitter = "aiosmtplib"``; on asyncio only.

aiosmtplib connects, speaks and encrypts. What it leaves open is closed here: the core of `mailslot.smtp` reads along
and judges every answer, the message goes out in pieces, and the connection is closed at anything but a refusal.
"""

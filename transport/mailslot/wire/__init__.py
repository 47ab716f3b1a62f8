"""Shared by SMTP and POP3 below the dialogue: lines, dot-stuffing, replies, transcripts and masked secrets."""

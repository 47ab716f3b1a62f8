"""What SMTP and POP3 share below the dialogue: lines, dot-stuffing, replies, transcripts and masked secrets."""

"""What SMTP and POP3 share below the dialogue: lines, dots, limits, replies, and secrets kept out of sight."""

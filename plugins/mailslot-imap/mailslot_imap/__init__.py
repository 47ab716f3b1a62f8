"""IMAP for mailslot, through aioimaplib; a separate distribution, since aioimaplib is under the GPL-3.0."""

"""IMAP for mailslot, through aioimaplib: a distribution of its own, since aioimaplib is under the GPL-3.0."""

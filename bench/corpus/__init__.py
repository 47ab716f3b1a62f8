"""Mails and documents that people really send, in bulk: ``python -m bench.corpus FOLDER``."""

"""Benchmarks of mailslot against other clients: ``python -m bench``."""

"""Listeners and devices of the gateway: their tables in ``mailslot.toml``, and the passwords of devices."""

"""Access to the panel: sessions, passwords, keys, TLS and limits."""

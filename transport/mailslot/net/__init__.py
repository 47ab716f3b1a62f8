"""Connections to a server: name resolution, connecting, TLS and timeouts."""

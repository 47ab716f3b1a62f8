"""The line to a server: names, addresses, TLS and deadlines."""

"""SASL authentication: mechanisms without I/O, credentials, and the exchange over any protocol (RFC 4422)."""

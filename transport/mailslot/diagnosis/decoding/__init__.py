"""Describes the contents of SASL messages and tokens, without the secrets in them."""

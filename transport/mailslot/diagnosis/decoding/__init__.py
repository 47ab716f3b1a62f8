"""What SASL messages and tokens say of themselves, without the secrets in them."""

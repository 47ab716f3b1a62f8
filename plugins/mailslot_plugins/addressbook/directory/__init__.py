"""A directory (LDAP, RFC 4510) as a source of the address book; it is only read."""

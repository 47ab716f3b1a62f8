"""OAuth 2.0: grants, how they are obtained, refreshed and revoked, and the peculiarities of providers."""

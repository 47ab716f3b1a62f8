"""OAuth 2.0: grants, how they are obtained, kept fresh and given up, and the providers' peculiarities."""

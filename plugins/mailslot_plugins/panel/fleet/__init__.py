"""The panel of a fleet: all its devices, for staff who sign in by OpenID Connect."""

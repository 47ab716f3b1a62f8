"""The gateway: mail of devices that know no OAuth 2.0, sent through an account that signs in with it."""

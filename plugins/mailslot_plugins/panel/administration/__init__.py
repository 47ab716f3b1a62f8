"""The page of the device: its identity, the password, API keys and sessions."""

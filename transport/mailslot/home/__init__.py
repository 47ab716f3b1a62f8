"""The home of a device: where its settings, secrets, queue and locks are."""

"""What answers on the network while the service runs."""

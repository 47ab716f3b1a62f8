"""What runs for as long as the device does: delivery, polling, renewal, and what a pipeline is."""

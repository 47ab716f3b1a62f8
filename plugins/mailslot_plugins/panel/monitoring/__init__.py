"""What monitoring systems ask for."""

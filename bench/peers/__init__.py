"""One module for each client: its functions are named after the kinds of task, and return the measured values."""

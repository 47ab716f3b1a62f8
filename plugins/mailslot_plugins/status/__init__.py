"""E-mail status: requests that arrive at ``status.pop`` are answered with the device's status."""

"""E-mail status: requests that arrive at ``status.pop`` are answered with what the device knows of itself."""

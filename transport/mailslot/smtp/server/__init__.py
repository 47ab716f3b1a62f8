"""The SMTP server: a core without I/O, and sessions that hand what they receive to a backend."""

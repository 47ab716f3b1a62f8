"""The POP3 server: a core without I/O, its sessions, and what it hands them to."""

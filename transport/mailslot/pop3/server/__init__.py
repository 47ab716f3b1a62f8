"""The POP3 server: a core without I/O, sessions, and the interface of its backend."""

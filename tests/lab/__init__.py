"""The lab: real servers on loopback, started with the tests and stopped with them."""

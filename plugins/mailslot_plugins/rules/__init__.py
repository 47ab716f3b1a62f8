"""The rules for sending: allowed recipients, the sender in From, blind copies, and delays."""

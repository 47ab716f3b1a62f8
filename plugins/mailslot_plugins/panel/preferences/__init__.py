"""The language and the colours of a browser."""

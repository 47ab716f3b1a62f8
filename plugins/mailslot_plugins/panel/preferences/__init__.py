"""The language and the theme of a browser."""

"""The web server that the panel and the sandbox share."""

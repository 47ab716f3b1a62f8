"""The web panel and the API."""

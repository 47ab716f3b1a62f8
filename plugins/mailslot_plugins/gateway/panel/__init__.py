"""The panel's pages for the gateway (devices, listeners and accounts), their texts, and the API operations."""

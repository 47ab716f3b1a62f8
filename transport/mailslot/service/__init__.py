"""The service: delivery, polling, token refresh, and the interface of pipelines."""

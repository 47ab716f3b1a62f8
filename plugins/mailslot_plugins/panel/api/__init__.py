"""The API: the functions of the pages as JSON, and its OpenAPI document."""

"""Documents that programs and people hand over to be sent."""

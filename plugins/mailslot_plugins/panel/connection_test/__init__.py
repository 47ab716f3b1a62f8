"""The connection test of a slot: it runs beside the pages, and they look at how it goes."""

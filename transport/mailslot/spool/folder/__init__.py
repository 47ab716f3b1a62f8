"""A spool in a folder: its rows in SQLite, its messages in files. No other package has SQL for SQLite."""

"""The page of a slot: its settings, its token line, its connection, and when mail is looked for."""

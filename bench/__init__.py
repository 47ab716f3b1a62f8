"""How fast mailslot is, and against whom: ``python -m bench``."""

"""The home page: what needs attention, the slots, and the queue."""

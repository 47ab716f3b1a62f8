"""The first page: the slots, what needs somebody, the queue."""

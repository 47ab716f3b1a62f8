"""Mail and documents from anybody, opened in a process of its own that can do no harm."""

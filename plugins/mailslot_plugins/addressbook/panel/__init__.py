"""The page of the address book, its texts, and its API operations."""

"""Opens mail and documents from anybody in a confined process of its own."""

"""What the panel is told of the pipeline: its words, and a page."""

"""What the panel is told of this pipeline: its words."""

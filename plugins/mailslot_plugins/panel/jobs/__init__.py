"""The queue: all jobs, and the story of each."""

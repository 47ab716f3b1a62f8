"""The queue: all jobs, and the details of each."""

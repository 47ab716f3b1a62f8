"""Faults of a fleet's database and workers, each for as long as it takes: ``python -m bench.faults``."""

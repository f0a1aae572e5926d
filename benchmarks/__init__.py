"""Benchmarks of wscore beside its peers; `python -m benchmarks` runs them all."""

"""Damaged pipelines: what is damaged, how, and what became of it. `benchmarks/attack.py` runs all of it."""

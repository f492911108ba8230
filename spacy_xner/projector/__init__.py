"""Paper 2: entities of a source text found again in its translation."""

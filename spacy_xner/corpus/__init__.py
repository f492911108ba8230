"""Corpora: tagged files to spaCy documents, their files, and a reader that mixes languages."""

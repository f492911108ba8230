"""`spacy xner vectors`: word vectors of several languages in one space; a file a verb."""

from spacy_xner.cli.vectors import align, coverage, distil, evaluate, map, merge, train  # noqa: F401

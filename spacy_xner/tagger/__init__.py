"""The entity tagger that every NER model of the package shares."""

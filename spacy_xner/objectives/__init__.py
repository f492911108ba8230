"""Auxiliary objectives of the entity tagger: losses on text without labels."""

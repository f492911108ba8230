"""Paper 4: a tagger of characters and aligned word vectors, without a transformer."""

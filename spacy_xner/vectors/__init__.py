"""Papers 4 and 5: word vectors of several languages in one space, dictionaries, romanisation."""

"""Every way from the data that a user has to a tagger of another language, compared in equal time."""

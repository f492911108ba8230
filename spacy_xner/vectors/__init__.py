"""Word vectors of several languages in one space, dictionaries, romanisation (papers 4 and 5)."""

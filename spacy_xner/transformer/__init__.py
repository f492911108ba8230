"""The transformer encoder: loading, wordpieces, windows, freezing."""

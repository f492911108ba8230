"""One HTML page on what the verbs have made: scores, curves, clusters, corpora, routes."""

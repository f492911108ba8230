"""Language identification, language clusters, and the routing of texts to them."""

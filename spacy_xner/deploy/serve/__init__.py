"""A service that answers with the entities of texts: an endpoint, a page, health and metrics."""

"""What is done with trained pipelines: packages."""

"""Reproduction of the papers: experiments, their results, tables and figures. `python scripts --help`."""

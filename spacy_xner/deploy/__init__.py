"""Packages of trained pipelines."""

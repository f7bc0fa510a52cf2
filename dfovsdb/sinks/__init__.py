"""Sinks: one small file for each destination."""

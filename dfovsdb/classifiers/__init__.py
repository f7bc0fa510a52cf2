"""Classifiers: one small file for each kind of port, and the chain that asks them in order."""

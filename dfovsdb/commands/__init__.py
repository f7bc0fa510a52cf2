"""One module for each command, or for a few of a kind: its arguments, and what it does.

A module is imported to know its arguments, so it imports a library only in what it does.
"""

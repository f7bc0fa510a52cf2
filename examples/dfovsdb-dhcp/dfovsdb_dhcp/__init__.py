"""A complete third-party package for dfovsdb: copy it, rename it, adapt it."""

"""A complete third-party package for dfovsdb: copy it, rename it, change what it says."""

"""The whole cloud, as the agents of all hosts keep it in NATS with the sink `nats`.

command.py is `dfovsdb fleet`, reading.py what it asks, fold.py how the log is read. Nothing
outside of this folder and the sink knows of it.
"""

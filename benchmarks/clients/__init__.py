"""The clients: each is a program, `python -m benchmarks.clients.NAME CONNECTION`.

A client says `ready` when it is loaded, connects when it receives `go`, and then says what
observer.py lets it say. Nothing here imports dfovsdb but the client of that name, so that
every client can run under the interpreter that has its library.
"""

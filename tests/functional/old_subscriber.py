"""A controller's subscriber as it was in 2019: run with msgpack 0.6 on PYTHONPATH.

Prints the version of msgpack, then each message as a line of JSON.
"""

# ruff: noqa: T201 - printing is what it does

import json
import sys

import msgpack  # type: ignore[import-untyped]  # the old one has no types
import zmq

with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
    subscriber.connect(sys.argv[1])
    subscriber.subscribe(b"D")
    print(json.dumps(msgpack.version), flush=True)
    while True:
        topic, data = subscriber.recv_multipart()
        message = msgpack.unpackb(data, encoding="utf-8")  # as Dragonflow calls it
        assert topic.decode() == message["topic"]
        print(json.dumps(message), flush=True)

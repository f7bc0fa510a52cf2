"""What a restart of RabbitMQ loses of notifications that it had confirmed.

    tools/rabbitmq.sh .venv/bin/python -m benchmarks.broker_restart

Nobody reads while they are sent; then the broker is stopped (SIGTERM) or killed (SIGKILL) and
started again, and what is left in the queue is counted. docs/notifications.md has the results.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import amqp

from dfovsdb.sinks.oslo_messaging.client import Bus
from tests.functional.rabbitmq import PASSWORD, USER, RabbitMQ

COUNT = 500


def main() -> None:
    """Print a table in Markdown."""
    print("| queue | the broker is | confirmed | read afterwards | lost | seconds to send |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, RabbitMQ(Path(folder)) as broker:
        for durable in (False, True):
            for kill in (False, True):
                one_case(broker, durable=durable, kill=kill)


def one_case(broker: RabbitMQ, *, durable: bool, kill: bool) -> None:
    """Print one row."""
    topic = f"durable-{durable}-{kill}"
    bus = Bus(
        f"{broker.url}?amqp_durable_queues={str(durable).lower()}",
        driver="messagingv2",
        topics=[topic],
        control_exchange=f"exchange-{durable}",
        timeout=10,
    )
    began = time.perf_counter()
    for number in range(COUNT):
        bus.notify("dfovsdb.host", "dfovsdb.port.online", {"number": number})
    seconds = time.perf_counter() - began
    bus.close()
    broker.stop(kill=kill)
    broker.start()
    left = read(broker, f"{topic}.info")
    print(
        f"| {'durable' if durable else 'not durable'} | {'killed' if kill else 'stopped'} | "
        f"{COUNT} | {left} | {COUNT - left} | {seconds:.1f} |"
    )


def read(broker: RabbitMQ, queue: str) -> int:
    """How many messages there are; 0 where the queue is gone."""
    address = urlsplit(broker.url)
    with amqp.Connection(f"{address.hostname}:{address.port}", USER, PASSWORD) as connection:
        channel = connection.channel()
        try:
            return int(channel.queue_declare(queue, passive=True).message_count)
        except amqp.exceptions.NotFound:
            return 0


if __name__ == "__main__":
    main()

"""Apache Kafka for one machine: one KRaft node on a private JVM.

`python -m infra.embedded.kafka --data DIR --port N` fetches what is missing, formats the folder once and becomes the broker.
"""

import argparse
import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from infra.embedded.java import JavaMissing, find_java
from infra.embedded.kafka_archive import startup_archive, using
from infra.embedded.kafka_jars import JarsUnavailable, kafka_jars
from infra.embedded.kafka_node import KafkaNode, KafkaUnusable
from infra.runtime.settings import KafkaSettings, Settings


@dataclass(frozen=True)
class Broker:
    """A broker that is ready to be started: `command` is its whole argument list."""

    command: list[str]
    bootstrap: str
    folder: Path


def prepare_broker(settings: KafkaSettings, folder: Path, port: int, controller_port: int, *, cache: Path | None = None) -> Broker:
    """Fetch the jars, write the configuration and format the folder if that was not done. Blocks.

    Raises JavaMissing, JarsUnavailable or KafkaUnusable. Nothing is running afterwards.
    """
    java = find_java()
    jars = kafka_jars(cache)
    archive = startup_archive(java, jars)
    node = KafkaNode(settings, folder, port, controller_port, java, jars)
    node.format()
    return Broker(node.command(*using(archive)), f"127.0.0.1:{port}", node.folder)


async def broker_answers(bootstrap: str, timeout_s: float = 2.0) -> bool:
    """Whether the broker at `bootstrap` answers a metadata request. Never raises for a broker that is away."""
    host, _, port = bootstrap.partition(",")[0].rpartition(":")
    try:
        # The client library logs every refused connection, so a plain knock comes first.
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), timeout_s)
        writer.close()
    except (OSError, TimeoutError):
        return False
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=int(timeout_s * 1000))
    try:
        await asyncio.wait_for(client.bootstrap(), timeout_s)
        return bool(client.cluster.brokers())
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        with contextlib.suppress(Exception):
            await client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="One Kafka node for one machine.")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the topics; created when absent")
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--controller-port", type=int, default=0, help="by default the port after --port")
    options = parser.parse_args()
    try:
        broker = prepare_broker(Settings().kafka, options.data, options.port, options.controller_port or options.port + 1)
    except (JavaMissing, JarsUnavailable, KafkaUnusable) as error:
        sys.exit(str(error))
    # Becoming the broker keeps the process id, so signals and limits of whoever started this reach it directly.
    os.execv(broker.command[0], broker.command)


if __name__ == "__main__":
    main()

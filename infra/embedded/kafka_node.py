"""One Kafka node in a folder: its configuration files, its Java command line, its formatting."""

import base64
import os
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from infra.embedded.java import Java
from infra.runtime.settings import KafkaSettings


class KafkaUnusable(Exception):
    """The broker cannot be started on this folder; the message says why."""


class KafkaNode:
    """A node's folder. `jvm` is the Java command up to, not including, the main class."""

    def __init__(self, settings: KafkaSettings, folder: Path, port: int, controller_port: int, java: Java, jars: Sequence[Path]) -> None:
        """Write the configuration files. Does not format and starts nothing."""
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configuration = self.folder / "server.properties"
        self.configuration.write_text(server_properties(settings, self.folder, port, controller_port))
        logging = self.folder / "log4j2.properties"
        logging.write_text(_LOGGING)
        self.jvm = [str(java.binary), *_jvm_flags(java, logging), "-cp", os.pathsep.join(map(str, jars))]

    def format(self) -> None:
        """Format the folder unless that was done. Blocks. Raises KafkaUnusable."""
        if (self.folder / "log" / "meta.properties").exists():
            return
        command = [*self.jvm, "kafka.tools.StorageTool", "format", "--cluster-id", _cluster_id(), "--config", str(self.configuration), "--ignore-formatted"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise KafkaUnusable(f"Kafka could not format {self.folder / 'log'}: {(done.stderr or done.stdout).strip()[-600:]}")

    def command(self, *flags: str) -> list[str]:
        """The argument list that becomes the broker, with more Java flags."""
        return [self.jvm[0], *flags, *self.jvm[1:], "kafka.Kafka", str(self.configuration)]


def _cluster_id() -> str:
    # The tool reads an id that begins with a dash as an option.
    while (cluster := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return cluster


def server_properties(settings: KafkaSettings, folder: Path, port: int, controller_port: int) -> str:
    """The broker's configuration file."""
    largest = settings.max_message_bytes
    properties = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": folder / "log",
        "auto.create.topics.enable": "false",
        "delete.topic.enable": "true",
        "num.partitions": settings.partitions,
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 8,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "message.max.bytes": largest,
        "replica.fetch.max.bytes": largest,
        "fetch.max.bytes": max(largest, 57_671_680),
        "socket.request.max.bytes": max(104_857_600, 2 * largest),
        "socket.send.buffer.bytes": 1_048_576,
        "socket.receive.buffer.bytes": 1_048_576,
        "log.retention.hours": settings.retention_hours,
        "log.segment.bytes": 268_435_456,
        "log.index.size.max.bytes": 2_097_152,
        "log.cleaner.threads": 1,
        "log.cleaner.dedupe.buffer.size": 4_194_304,
        "log.cleaner.io.buffer.size": 262_144,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "num.recovery.threads.per.data.dir": 2,
        "background.threads": 2,
        # A group of our own workers is complete at once; waiting for more members only delays the start.
        "group.initial.rebalance.delay.ms": 0,
        # A broker that was killed may come back only after its old session has run out; the default of 9 s is a long wait on one machine.
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        "unstable.api.versions.enable": "false",
    }
    return "".join(f"{name}={value}\n" for name, value in properties.items())


_LOGGING = """\
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd HH:mm:ss} %p %c{1}: %m%n
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = OUT
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = INFO
"""


def _jvm_flags(java: Java, logging: Path) -> list[str]:
    flags = [
        "-Xms96m",
        "-Xmx320m",
        "-Xss512k",
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:-UsePerfData",
        # The first compiler alone: a broker of one machine is not busy for long enough to earn back what the second one costs.
        "-XX:TieredStopAtLevel=1",
        "-XX:ReservedCodeCacheSize=64m",
        # Threads keep one native buffer each for socket and file work; large records would make each of them large for good.
        "-Djdk.nio.maxCachedBufferSize=1048576",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={logging}",
    ]
    if java.major >= 25:
        flags += ["-XX:+UseCompactObjectHeaders", "--sun-misc-unsafe-memory-access=allow"]
    return flags

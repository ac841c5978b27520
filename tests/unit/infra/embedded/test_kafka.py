"""The jars are the pinned ones, and the broker's configuration follows the settings."""

from pathlib import Path

import pytest

from infra.embedded import kafka_jars
from infra.embedded.kafka import broker_answers
from infra.embedded.kafka_jars import KAFKA_VERSION, JarsUnavailable, pinned
from infra.embedded.kafka_node import server_properties
from infra.runtime.settings import KafkaSettings
from tests.support import free_port


def test_every_jar_is_pinned() -> None:
    jars = pinned()
    assert f"kafka_2.13-{KAFKA_VERSION}.jar" in jars
    assert all(len(digest) == 64 for digest in jars.values())


def test_another_file_under_a_pinned_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolved(staging: Path) -> dict[str, Path]:
        staging.mkdir(parents=True)
        fake = staging / "fake.jar"
        fake.write_bytes(b"not a jar")
        return dict.fromkeys(pinned(), fake)

    monkeypatch.setattr(kafka_jars, "_resolve", resolved)
    with pytest.raises(JarsUnavailable, match="SHA-256 differs"):
        kafka_jars.kafka_jars(tmp_path)
    assert not list(tmp_path.glob("kafka-*"))


def test_limits_and_retention_come_from_the_settings(tmp_path: Path) -> None:
    settings = KafkaSettings().model_copy(update={"max_message_bytes": 5_000_000, "retention_hours": 7})
    lines = server_properties(settings, tmp_path, 1111, 2222).splitlines()
    for line in (
        "message.max.bytes=5000000",
        "replica.fetch.max.bytes=5000000",
        "log.retention.hours=7",
        "auto.create.topics.enable=false",
        "group.initial.rebalance.delay.ms=0",
        "advertised.listeners=PLAINTEXT://127.0.0.1:1111",
    ):
        assert line in lines


async def test_no_broker_means_no() -> None:
    assert not await broker_answers(f"127.0.0.1:{free_port()}")

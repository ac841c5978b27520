"""Kafka's classes as Java keeps them in memory, saved once: a start costs 1 s of CPU instead of 3.

Only Java 25 and later can do this. Everything here is best effort: without the archive Kafka starts as it always did.
"""

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import structlog
from rich.console import Console

from infra.embedded.java import Java
from infra.embedded.kafka_node import KafkaNode, KafkaUnusable
from infra.embedded.ports import free_port
from infra.runtime.settings import KafkaSettings

log = structlog.get_logger()

_FIRST_WITH_ARCHIVES = 25
_DEADLINE_S = 90.0


def using(archive: Path | None) -> list[str]:
    """The Java flags that read the archive. Java goes on without it when it does not fit."""
    return [] if archive is None else [f"-XX:AOTCache={archive}", "-Xlog:disable", "-Xlog:all=error:stderr"]


def startup_archive(java: Java, jars: Sequence[Path]) -> Path | None:
    """The archive beside the jars for this Java; made on the first call, which takes some 10 s. None when there can be none."""
    if java.major < _FIRST_WITH_ARCHIVES:
        return None
    folder = jars[0].parent
    runtime = hashlib.sha256(f"{java.binary} {java.binary.stat().st_mtime_ns}".encode()).hexdigest()[:12]
    archive = folder / f"start-{java.major}-{runtime}.aot"
    failed = archive.with_suffix(".failed")
    if archive.exists():
        return archive
    with (folder / "archive.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists() and not failed.exists():
            try:
                with Console(stderr=True).status("Preparing Kafka for quick starts (once)"):
                    _make(java, jars, archive)
            except (OSError, subprocess.SubprocessError, KafkaUnusable) as error:
                log.warning("kafka_archive_not_made", error=str(error))
                failed.touch()
    return archive if archive.exists() else None


def _make(java: Java, jars: Sequence[Path], archive: Path) -> None:
    # A throw-away broker is started once and ended; Java writes down what it loaded, and makes the archive of it as it ends.
    folder = Path(tempfile.mkdtemp(prefix="millstream-kafka-"))
    draft = folder / "draft.aot"
    try:
        node = KafkaNode(KafkaSettings(), folder, free_port(), free_port(), java, jars)
        node.format()
        trial = subprocess.Popen(node.command(f"-XX:AOTCacheOutput={draft}"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert trial.stdout is not None
        end = threading.Timer(_DEADLINE_S, trial.kill)
        end.start()
        try:
            for line in trial.stdout:
                if "Kafka Server started" in line:
                    trial.terminate()
            trial.wait()
        finally:
            end.cancel()
            trial.kill()
            trial.wait()
            trial.stdout.close()
        if not draft.exists():
            raise KafkaUnusable("Java did not write an archive")
        beside = archive.with_suffix(".new")
        shutil.copyfile(draft, beside)
        beside.replace(archive)
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""One more ingest process beside the one of the stack, with settings of its own."""

import os
import subprocess
from collections.abc import Mapping
from typing import Self

import httpx

from infra.embedded.stack import environment_of, platform_services
from infra.embedded.supervisor import die_with_parent
from tests.flow.stack import LiveStack
from tests.support import eventually_sync, free_port


class ExtraIngest:
    """Listens on a main port only; runs between `start` and `stop`, or as a context."""

    def __init__(self, live: LiveStack, env: Mapping[str, str]) -> None:
        ports = dict.fromkeys(live.settings.port.model_dump(), 0) | {"main": free_port()}
        self._settings = live.settings.model_copy(update={"port": live.settings.port.model_copy(update=ports)})
        self.url = f"http://127.0.0.1:{ports['main']}"
        # Without the Kafka door: a further member would take partitions from the stack's own.
        self._env = {"MILLSTREAM_INGEST_KAFKA_DOOR": "false", "MILLSTREAM_SELF_TELEMETRY": "false", **env}

    def start(self) -> Self:
        """Start, also again, and wait until it answers."""
        (child,) = [child for child in platform_services(self._settings) if child.name == "ingest"]
        env = {**os.environ, **environment_of(self._settings), **self._env}
        self._process = subprocess.Popen(list(child.argv), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent())  # noqa: PLW1509
        eventually_sync(self._answers)
        return self

    def stop(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"ingest ended with status {self._process.returncode}")
        try:
            return httpx.get(f"{self.url}/platform/v1/health/live").status_code == 200
        except httpx.TransportError:
            return False

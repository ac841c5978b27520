"""Which TCP ports are free, and which the embedded parts use in a data folder."""

import json
import os
import random
import socket
from pathlib import Path


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now. Port 0 is always free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            if port:
                probe.listen(1)
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody uses at this moment. Another process may still take it first, but no outgoing connection will: it is below
    the range from which systems take ports for those."""
    while True:
        port = random.randrange(12_000, 31_000)
        if is_free(host, port):
            return port


class RememberedPorts:
    """Ports by name, chosen once and kept in a file, so that addresses stay the same from one start to the next."""

    def __init__(self, path: Path, host: str = "127.0.0.1") -> None:
        self._path = path
        self._host = host

    def read(self) -> dict[str, int]:
        """The ports of the last start; empty when there was none."""
        try:
            found = json.loads(self._path.read_text())["ports"]
            return {str(name): int(port) for name, port in found.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def choose(self, *names: str, preferred: dict[str, int] | None = None) -> dict[str, int]:
        """A free port for each name: the remembered one, else the preferred one, else any; and remember them."""
        known = self.read()
        chosen: dict[str, int] = {}
        for name in names:
            wishes = [known.get(name, 0), (preferred or {}).get(name, 0)]
            port = next((wish for wish in wishes if wish and wish not in chosen.values() and is_free(self._host, wish)), 0)
            while not port or port in (set(chosen.values()) - {port}):
                port = free_port(self._host)
            chosen[name] = port
        self._path.parent.mkdir(parents=True, exist_ok=True)
        aside = self._path.with_suffix(".new")
        aside.write_text(json.dumps({"ports": {**known, **chosen}}, indent=2))
        os.replace(aside, self._path)
        return chosen

"""Ports are remembered per data folder and replaced only when taken."""

import socket
from pathlib import Path

from infra.embedded.ports import RememberedPorts, free_port, is_free


def test_a_port_in_use_is_not_free() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert not is_free("127.0.0.1", server.getsockname()[1])
    assert is_free("127.0.0.1", 0)


def test_ports_stay_until_somebody_takes_them(tmp_path: Path) -> None:
    ports = RememberedPorts(tmp_path / "stack.json")
    assert ports.read() == {}
    first = ports.choose("a", "b", preferred={"a": free_port()})
    assert len(set(first.values())) == 2
    assert RememberedPorts(tmp_path / "stack.json").choose("a", "b") == first
    with socket.socket() as server:
        server.bind(("127.0.0.1", first["a"]))
        server.listen()
        second = ports.choose("a", "b")
    assert second["a"] != first["a"]
    assert second["b"] == first["b"]
    assert ports.choose("c")["c"] not in second.values()
    assert set(ports.read()) == {"a", "b", "c"}


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{")
    assert RememberedPorts(tmp_path / "stack.json").read() == {}

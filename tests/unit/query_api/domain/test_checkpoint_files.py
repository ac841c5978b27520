"""No path that a program names leads out of its tenant's folder of checkpoints."""

from pathlib import Path

import pytest

from infra.runtime.errors import NotFound
from query_api.domain.checkpoint_files import file_of
from query_api.readers.runs import Checkpoint


def _at(path: str) -> Checkpoint:
    return Checkpoint("c", 0, None, None, path, {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    own = folder / "acme"
    (own / "checkpoints").mkdir(parents=True)
    (own / "checkpoints" / "epoch 40.pt").write_bytes(b"weights")
    (folder / "other").mkdir()
    for secret in (tmp_path / "secret.pt", folder / "secret.pt", folder / "other" / "secret.pt"):
        secret.write_bytes(b"secret")
    (own / "link.pt").symlink_to(tmp_path / "secret.pt")
    (own / "foreign.pt").symlink_to(folder / "other" / "secret.pt")
    (own / "circle.pt").symlink_to(own / "circle.pt")
    (own / "inside.pt").symlink_to(own / "checkpoints" / "epoch 40.pt")
    return folder


@pytest.mark.parametrize("path", ["/checkpoints/epoch 40.pt", "checkpoints/epoch 40.pt", "//checkpoints/./epoch 40.pt", "/inside.pt"])
def test_a_path_is_one_within_the_folder(folder: Path, path: str) -> None:
    found = file_of(_at(path), folder, "acme")
    assert isinstance(found, Path) and found.read_bytes() == b"weights"


@pytest.mark.parametrize(
    "path",
    [
        "../secret.pt", "../other/secret.pt", "/checkpoints/../../../secret.pt", "/link.pt", "/foreign.pt", "/circle.pt", "/checkpoints", "/none.pt", "/a\0b",
        "x" * 5_000, "", "file:///checkpoints", "http://[",
    ],
)  # fmt: skip
def test_everything_else_is_not_found(folder: Path, path: str) -> None:
    with pytest.raises(NotFound):
        file_of(_at(path), folder, "acme")


def test_an_address_is_given_as_it_is() -> None:
    assert file_of(_at("https://models.example/a.pt"), None, "acme") == "https://models.example/a.pt"

"""No path that a program names leads out of the folder of checkpoints."""

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
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "epoch 40.pt").write_bytes(b"weights")
    (tmp_path / "secret.pt").write_bytes(b"secret")
    (folder / "link.pt").symlink_to(tmp_path / "secret.pt")
    (folder / "inside.pt").symlink_to(folder / "checkpoints" / "epoch 40.pt")
    return folder


@pytest.mark.parametrize("path", ["/checkpoints/epoch 40.pt", "checkpoints/epoch 40.pt", "//checkpoints/./epoch 40.pt", "/inside.pt"])
def test_a_path_is_one_within_the_folder(folder: Path, path: str) -> None:
    found = file_of(_at(path), folder)
    assert isinstance(found, Path) and found.read_bytes() == b"weights"


@pytest.mark.parametrize(
    "path", ["../secret.pt", "/checkpoints/../../secret.pt", "/link.pt", "/checkpoints", "/none.pt", "/a\0b", "x" * 5_000, "", "file:///checkpoints"]
)
def test_everything_else_is_not_found(folder: Path, path: str) -> None:
    with pytest.raises(NotFound):
        file_of(_at(path), folder)


def test_an_address_is_given_as_it_is() -> None:
    assert file_of(_at("https://models.example/a.pt"), None) == "https://models.example/a.pt"

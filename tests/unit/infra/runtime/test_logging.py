"""What gets into the logs."""

import pytest
import structlog

from infra.runtime.logging import configure_logging
from infra.runtime.settings import Settings


@pytest.mark.parametrize("as_json", [False, True])
def test_a_traceback_shows_no_values(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    configure_logging(Settings(log_json=as_json, self_telemetry=False))

    def fails(credential: str) -> None:
        raise RuntimeError("it broke")

    try:
        fails("s3cret-value" + "!")
    except RuntimeError:
        structlog.get_logger().exception("failed", key="s3cret-value!")
    logged = capsys.readouterr().err
    assert "it broke" in logged and "in fails" in logged and "s3cret-value!" not in logged

"""The workers' Prometheus metrics."""

from infra.runtime.metric_names import counter, histogram

BLOCKS = counter("millstream_streams_blocks_total")
ROWS = counter("millstream_streams_rows_total")
INSERT_SECONDS = histogram("millstream_streams_insert_seconds")
LOST = counter("millstream_streams_lost_blocks_total")
WENT_BACK = counter("millstream_streams_went_back_total")
RETRIES = counter("millstream_streams_insert_retries_total")
FRESHNESS = histogram("millstream_streams_freshness_seconds")
REFRESHES = counter("millstream_streams_refreshes_total")
REFRESH_SECONDS = histogram("millstream_streams_refresh_seconds")
EVALUATIONS = counter("millstream_streams_evaluations_total")
JUDGE_CALLS = counter("millstream_streams_judge_calls_total")

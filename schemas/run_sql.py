"""What telemetry says of a run, as expressions over a row of telemetry; the tables of runs and their readers use the same.

An event belongs to the run that its metadata names as `run_id`. The names of events follow Erlang's telemetry, in which something begins with `start` and
ends with `stop` or `exception`, and the registry of events of crucible_telemetry 0.5: `crucible_train.training.start`, `crucible_train.checkpoint.saved`.
"""

from typing import Final

LONGEST_RUN_ID: Final = 512
"""Characters. What is longer is no id: it would make every list that it is in too large to be read."""
RUN_ID: Final = f"""multiIf(
    JSONType(metadata, 'run_id') = 'String',
    if(lengthUTF8(JSONExtractString(metadata, 'run_id')) <= {LONGEST_RUN_ID}, JSONExtractString(metadata, 'run_id'), ''),
    JSONType(metadata, 'run_id') IN ('Int64', 'UInt64'), JSONExtractRaw(metadata, 'run_id'), '')"""
"""Text, empty for an event of no run. A whole number is taken as text."""

_PARTS: Final = "splitByChar('.', event_name)"
_TOLD: Final = "lower(JSONExtractString(metadata, 'status'))"

STATUS: Final = f"""multiIf(
    {_PARTS}[-2] NOT IN ('run', 'training', 'pipeline'), '',
    {_PARTS}[-1] IN ('created', 'queued', 'pending'), 'pending',
    {_PARTS}[-1] IN ('start', 'started', 'resumed'), 'running',
    {_PARTS}[-1] IN ('exception', 'failed', 'error'), 'failed',
    {_PARTS}[-1] NOT IN ('stop', 'stopped', 'completed', 'finished'), '',
    {_TOLD} IN ('failed', 'failure', 'error'), 'failed', 'completed')"""
"""The state that an event says its run is in from then on; empty when it says none."""

IS_CHECKPOINT: Final = f"(has({_PARTS}, 'checkpoint') AND {_PARTS}[-1] IN ('checkpoint', 'saved', 'stop', 'completed'))"
"""Whether the event is a checkpoint that was written."""

IS_LOG: Final = "(JSONType(metadata, 'message') = 'String')"
"""Whether the event is a line of the run's log."""


def _number(*places: tuple[str, str]) -> str:
    # To look for the name costs a tenth of parsing the object, and most events have most of these names nowhere.
    found = (f"""if(position({holder}, '"{name}"') > 0, JSONExtract({holder}, '{name}', 'Nullable(Float64)'), NULL)""" for holder, name in places)
    return f"coalesce({', '.join(found)})"


STEP: Final = _number(("measurements", "step"), ("measurements", "global_step"), ("metadata", "step"))
"""Number of the step; empty where the event has none."""

EPOCH: Final = _number(("measurements", "epoch"), ("metadata", "epoch"))
"""Number of the epoch; empty where the event has none."""

PLACE: Final = f"ifNull({STEP}, ifNull({EPOCH}, -1.))"
"""Where in the run a measurement was made: its step, else its epoch."""

PROGRESS: Final = _number(("measurements", "progress"), ("metadata", "progress"))
"""How far the event says the run is; empty where it says nothing."""

STATUS_RANK: Final = f"toUInt8(indexOf(['pending', 'running', 'completed', 'failed'], {STATUS}))"
"""Which of several states counts that are said of the same instant: clocks may be coarse, and what ended does not run any more."""

_MOST_HYPERPARAMETERS: Final = 16_384
HYPERPARAMETERS: Final = f"""if(
    position(metadata, '"hyperparameters"') > 0 AND JSONType(metadata, 'hyperparameters') = 'Object'
    AND length(JSONExtractRaw(metadata, 'hyperparameters')) <= {_MOST_HYPERPARAMETERS},
    JSONExtractRaw(metadata, 'hyperparameters'), '')"""
"""JSON object, or empty. Those of more than 16 KiB are left out, since a run keeps all that its events named together."""

NO_METRICS: Final = ("step", "global_step", "epoch", "progress", "attempt", "system_time", "monotonic_time")
"""Measurements that say where and when, and are no metrics."""

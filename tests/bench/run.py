"""`make bench`: measure, print a table, and write the figures as JSON when asked."""

import argparse
import asyncio
import json
import os
import platform
import sys
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from tests.bench import breaker, crucible, evaluation, events, freshness, llm_ingest, llm_reads, llm_writes, memory, otlp, refresh, results
from tests.bench.figures import Benchmark, Figures

BENCHMARKS: dict[str, Benchmark] = {
    "events": events.events_batches,
    "single": events.events_single,
    "spans": otlp.spans,
    "metric_points": otlp.metric_points,
    "evaluation": evaluation.evaluation,
    "breaker": breaker.breaker,
    "freshness": freshness.freshness,
    "refresh": refresh.refresh,
    "results": results.results,
    "memory": memory.memory,
    "llm_spans": llm_ingest.llm_spans,
    "llm_reads": llm_reads.llm_reads,
    "llm_writes": llm_writes.llm_writes,
    "crucible_telemetry": crucible.crucible_telemetry,
    "crucible_live": crucible.crucible_live,
}


def _named(name: str) -> list[str]:
    """The benchmark of this name, or all whose names begin with it and an underscore."""
    return [name] if name in BENCHMARKS else [each for each in BENCHMARKS if each.startswith(f"{name}_")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which to run: {', '.join(BENCHMARKS)}, or llm or crucible for all of theirs; all when left out"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE")
    options = parser.parse_args()
    unknown = [name for name in options.names if not _named(name)]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    chosen = list(dict.fromkeys(each for name in options.names for each in _named(name))) or list(BENCHMARKS)
    # Of the two cores that are measured, the load generator should take as little as it can.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    console = Console()
    console.print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} at the start")
    figures: Figures = {}
    failed = []
    for name in chosen:
        console.print(f"running {name} ...")
        try:
            figures |= BENCHMARKS[name]()
        except (RuntimeError, TimeoutError, OSError) as error:
            failed.append(name)
            console.print(f"[red]{name} failed:[/] {error}")
    table = Table("figure", "value", "unit", "ratio", "reference", "conditions")
    for name, figure in figures.items():
        table.add_row(name, f"{figure.value:,.1f}", figure.unit, "" if figure.ratio is None else f"{figure.ratio:.2f}", figure.reference, figure.conditions)
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps({name: figure.as_dict() for name, figure in figures.items()}, indent=2) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

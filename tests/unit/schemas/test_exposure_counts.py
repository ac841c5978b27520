"""Exposures by bucket add up to those of all units, whichever buckets were replaced how often."""

import random
from collections import Counter
from typing import Any

import pyarrow as pa

from schemas.exposure_counts import DIMENSIONS, BucketedExposures

BUCKETS = 50


def _table(rows: Counter[tuple[Any, ...]]) -> pa.Table:
    columns: dict[str, Any] = {name: [key[place] for key in rows] for place, name in enumerate(("bucket", *DIMENSIONS))}
    return pa.table({**columns, "bucket": pa.array(columns["bucket"], pa.uint16()), "units": pa.array(rows.values(), pa.uint64())})


def _rows(dice: random.Random, buckets: list[int]) -> Counter[tuple[Any, ...]]:
    made = ((dice.choice(buckets), dice.choice(["a", "b", ""]), dice.randrange(5), dice.choice(["web", "app"]), "s") for _ in range(200))
    return Counter(made) if buckets else Counter()


def test_replaced_buckets_count_once_and_the_rest_stays() -> None:
    dice = random.Random(3)
    held, kept = BucketedExposures(), Counter[tuple[Any, ...]]()
    for _ in range(8):
        buckets = dice.sample(range(BUCKETS), dice.randrange(1, BUCKETS))
        new = _rows(dice, buckets[: len(buckets) // 2])
        held.replace(buckets, _table(new))
        kept = Counter({key: units for key, units in kept.items() if key[0] not in buckets}) + new
        expected: Counter[tuple[Any, ...]] = Counter()
        for key, units in kept.items():
            expected[key[1:]] += units
        found = {tuple(row[name] for name in DIMENSIONS): row["units"] for row in held.total().to_pylist()}
        assert found == expected


def test_nothing_adds_up_to_an_empty_table_with_its_columns() -> None:
    assert BucketedExposures().total().column_names == [*DIMENSIONS, "units"]
    assert BucketedExposures().total().num_rows == 0

"""Growth of series and its causes."""

from schemas.cardinality import TOP_LABELS, Count, figures, growth


def test_without_history_nothing_is_said() -> None:
    assert growth(Count(1_000))["kind"] == "none"
    assert figures(5, Count(1_000), {"pod": Count(10)})["causes"] == []


def test_jump_against_the_median() -> None:
    grown = growth(Count(200, (100, 90, 110), 100))
    assert (grown["kind"], grown["previous"], grown["added"], grown["ratio"]) == ("jump", 100, 100, 2.0)


def test_constant_rate_stays_detected_in_every_window() -> None:
    # 50 more per window on a growing level: never a jump after the start, and still growth each time.
    levels = [1_000 + 50 * step for step in range(60)]
    for end in range(5, 60):
        grown = growth(Count(levels[end], tuple(levels[end - 5 : end]), 50))
        assert (grown["kind"], grown["per_window"], grown["rising"]) == ("steady", 50, 5)


def test_noise_is_not_growth() -> None:
    assert growth(Count(1_003, (1_000, 1_002, 999, 1_001, 1_002), 3))["kind"] == "level"
    assert growth(Count(4, (1, 2, 3), 1))["kind"] == "level"


def test_churn_on_a_level() -> None:
    result = figures(9, Count(1_000, (1_000, 1_000), 1_000), {"request_id": Count(1_000, (1_000, 1_000), 1_000), "zone": Count(3, (3, 3), 0)})
    assert result["growth"]["kind"] == "churn"
    assert [cause["label"] for cause in result["causes"]] == ["request_id"]


def test_falling() -> None:
    assert growth(Count(100, (200, 210), 0))["kind"] == "falling"


def test_cause_is_the_label_that_grew() -> None:
    labels = {"pod": Count(40, (10, 10), 30), "zone": Count(3, (3, 3), 0), "version": Count(3, (2, 2), 1)}
    result = figures(9, Count(4_000, (1_000, 1_000), 3_000), labels)
    assert [(cause["label"], cause["share"]) for cause in result["causes"]] == [("pod", 1.0), ("version", 0.292481)]


def test_labels_are_listed_by_values_and_limited() -> None:
    result = figures(9, Count(1), {f"l{number:02}": Count(number) for number in range(30)})
    assert [entry["label"] for entry in result["labels"]][:2] == ["l29", "l28"]
    assert len(result["labels"]) == TOP_LABELS
    assert result["label_count"] == 30

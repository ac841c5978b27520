"""Sums over evaluations add up, survive the trip through a window, and say what thresholds say."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas.evaluation_rule import Alert
from schemas.evaluation_tally import Tally, judged, total, value_of

COUNTS = st.dictionaries(st.sampled_from(["good", "bad"]), st.integers(1, 9), max_size=2)
TALLIES = st.builds(
    Tally,
    count=st.integers(0, 50), failures=st.integers(0, 9), scores=st.integers(0, 50), score_sum=st.integers(0, 50).map(float),
    labels=COUNTS, reasons=COUNTS, calls=st.integers(0, 9), tokens=st.integers(0, 9), costs=st.dictionaries(st.sampled_from(["EUR", "USD"]), st.just(0.5)),
)  # fmt: skip


@given(st.lists(TALLIES, max_size=6))
def test_sums_do_not_depend_on_the_order_and_survive_the_trip(tallies: list[Tally]) -> None:
    whole = total(tallies)
    assert total(reversed(tallies)) == whole
    assert whole.count == sum(each.count for each in tallies)
    assert whole.labels.get("bad", 0) == sum(each.labels.get("bad", 0) for each in tallies)
    stored = msgspec.json.decode(msgspec.json.encode(whole.figures()))
    assert Tally.from_figures(stored).figures() == whole.figures()


def test_what_is_gone_is_nothing() -> None:
    assert Tally.from_figures({}) == Tally() and Tally().mean_score is None


def test_what_alerts_watch() -> None:
    tally = Tally(count=10, failures=2, scores=6, score_sum=3.0, labels={"good": 6, "bad": 2})
    assert value_of(Alert("mean_score", below=1.0), tally) == (0.5, 6)
    assert value_of(Alert("label_share", above=0.1, label="bad"), tally) == (0.25, 8)
    assert value_of(Alert("label_share", above=0.1, label="never"), tally) == (0.0, 8)
    assert value_of(Alert("failure_share", above=0.1), tally) == (0.2, 10)
    assert value_of(Alert("mean_score", below=1.0), Tally()) == (None, 0)


def test_too_few_say_nothing() -> None:
    tally = Tally(count=5, scores=5, score_sum=1.0)
    assert judged(Alert("mean_score", below=0.5, at_least=5), tally)["crossed"] is True
    assert judged(Alert("mean_score", below=0.5, at_least=6), tally)["crossed"] is None
    assert judged(Alert("mean_score", below=0.1, at_least=5), tally)["crossed"] is False
    assert judged(Alert("mean_score", below=0.5, at_least=1), Tally())["crossed"] is None

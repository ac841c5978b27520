"""Run by the interpreter of the other environment: GrowthBook's statistics for the data sets that come as JSON on standard input."""

import json
import sys
from typing import Any

from gbstats.bayesian.tests import EffectBayesianABTest, EffectBayesianConfig, GaussianPrior
from gbstats.frequentist.tests import FrequentistConfig, SequentialConfig, SequentialTwoSidedTTest, TwoSidedTTest
from gbstats.models.statistics import ProportionStatistic, QuantileStatistic, RatioStatistic, RegressionAdjustedStatistic, SampleMeanStatistic
from gbstats.utils import check_srm


def statistic(arm: dict[str, Any]) -> Any:
    """The arm as gbstats takes it; a new one each time, since a test alters it."""
    n = arm["n"]
    if arm["kind"] == "proportion":
        return ProportionStatistic(n=n, sum=arm["sum"])
    if arm["kind"] == "mean":
        return SampleMeanStatistic(n=n, sum=arm["sum"], sum_squares=arm["sum_squares"])
    if arm["kind"] == "quantile":
        return QuantileStatistic(n=n, n_star=n, nu=arm["nu"], quantile_hat=arm["hat"], quantile_lower=arm["lower"], quantile_upper=arm["upper"])
    first = SampleMeanStatistic(n=n, sum=arm["sum"], sum_squares=arm["sum_squares"])
    second = SampleMeanStatistic(n=n, sum=arm["other_sum"], sum_squares=arm["other_sum_squares"])
    if arm["kind"] == "ratio":
        return RatioStatistic(n=n, m_statistic=first, d_statistic=second, m_d_sum_of_products=arm["products"])
    return RegressionAdjustedStatistic(n=n, post_statistic=first, pre_statistic=second, post_pre_sum_of_products=arm["products"], theta=0)


def figures(case: dict[str, Any]) -> dict[str, Any]:
    """Every test of one data set."""

    def arms() -> tuple[Any, Any]:
        return statistic(case["control"]), statistic(case["treatment"])

    found: dict[str, Any] = {"srm": check_srm([case["control"]["n"], case["treatment"]["n"]], [0.5, 0.5])}
    for difference in ("absolute", "relative"):
        fixed = TwoSidedTTest(*arms(), FrequentistConfig(alpha=case["alpha"], difference_type=difference)).compute_result()
        flat = GaussianPrior(proper=False)
        config = EffectBayesianConfig(alpha=case["alpha"], difference_type=difference, inverse=case["inverse"], prior_effect=flat, prior_type=difference)
        bayes = EffectBayesianABTest(*arms(), config).compute_result()
        found[difference] = {
            "expected": fixed.expected,
            "standard_error": fixed.uplift.stddev,
            "t_interval": list(fixed.ci),
            "t_p_value": fixed.p_value,
            "z_interval": list(bayes.ci),
            "chance_to_win": bayes.chance_to_win,
            "risk": list(bayes.risk),
            "error": fixed.error_message,
        }
    sequential = SequentialConfig(alpha=case["alpha"], difference_type="absolute", sequential_tuning_parameter=case["tuning"])
    result = SequentialTwoSidedTTest(*arms(), sequential).compute_result()
    found["sequential"] = {"interval": list(result.ci), "p_value": result.p_value}
    return found


if __name__ == "__main__":
    json.dump([figures(case) for case in json.load(sys.stdin)], sys.stdout, default=float)

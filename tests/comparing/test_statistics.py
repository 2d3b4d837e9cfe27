"""The p-values and intervals of a comparison, against what is true: nulls, power, coverage, values by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from capfw.core.comparing.comparison import Comparison, Difference, compare_systems
from capfw.core.comparing.groups import student_quantile, student_share
from capfw.core.comparing.systems import System
from capfw.core.protocols import Captioned, ImageId
from capfw.core.resampling import SummedScores, bootstrap, percentiles, randomisation
from capfw.plugins.metrics.coco_caption import BleuConfig
from capfw.plugins.metrics.coco_caption.model import Bleu

from .runs import system

WORDS = ["a", "the", "dog", "cat", "man", "red", "small", "runs", "sits", "on", "in", "grass", "street", "two"]
NUM_TRIALS = 400


def difference_of(comparison: Comparison) -> Difference:
    [found] = comparison.differences
    return found


def compared(*systems: System, num_resamples: int = 1000, num_images: int = 1) -> Comparison:
    return compare_systems(systems, num_resamples=num_resamples, num_images=num_images, seed=0)


def within_binomial_error(count: int, share: float) -> bool:
    """Whether `count` of the trials is within three standard deviations of `share`."""
    return abs(count / NUM_TRIALS - share) <= 3 * math.sqrt(share * (1 - share) / NUM_TRIALS)


def mean(values: Sequence[float]) -> SummedScores:
    return SummedScores(("mean",), np.asarray(values)[:, None], lambda sums: {"mean": sums[..., 0] / len(values)})


def two_samples(num_images: int, seed: int) -> tuple[list[list[float]], list[list[float]]]:
    """BLEU's statistics of two random captions per image, by one and the same system."""
    rng = np.random.default_rng(seed)

    def text() -> str:
        return " ".join(rng.choice(WORDS, size=rng.integers(4, 9)))

    references: dict[ImageId, tuple[str, ...]] = {i: (text(), text(), text()) for i in range(num_images)}
    both = [Bleu(BleuConfig()).score(Captioned({i: text() for i in references}, references)) for _ in range(2)]
    first, second = ([list(scores.statistics[i]) for i in references] for scores in both)
    return first, second


def test_under_a_true_null_p_is_below_5_percent_in_5_percent_of_the_trials() -> None:
    # Each image has two captions of one system. A coin assigns them to A and B, anew in each trial.
    samples = np.array(two_samples(120, seed=1))  # (2, images, k)
    rng, rejected = np.random.default_rng(2), {"BLEU-1": 0, "BLEU-4": 0, "mean": 0}
    for trial in range(NUM_TRIALS):
        coins = rng.integers(0, 2, size=samples.shape[1])
        a, b = (samples[each, np.arange(len(coins))] for each in (coins, 1 - coins))
        first, second = ([SummedScores((), rows, Bleu.corpus_of), mean(rows[:, 6])] for rows in (a, b))
        found = randomisation(first, second, num_trials=1000, seed=trial)
        rejected = {name: count + (found[name] < 0.05) for name, count in rejected.items()}
    assert all(within_binomial_error(count, 0.05) for count in rejected.values()), rejected


def test_power_grows_with_the_difference() -> None:
    rng, shares = np.random.default_rng(3), []
    for shift in (0.0, 0.1, 0.2, 0.4):
        p_values = []
        for trial in range(60):
            image = rng.normal(0, 1, size=100)
            a, b = image + rng.normal(0, 0.5, size=100), image + shift + rng.normal(0, 0.5, size=100)
            p_values.append(randomisation([mean(a)], [mean(b)], num_trials=1000, seed=trial)["mean"])
        shares.append(np.mean(np.array(p_values) < 0.05))
    assert shares == sorted(shares)
    assert shares[0] < 0.2
    assert shares[1] < 0.75 < shares[3]


def test_intervals_hold_the_true_difference_as_often_as_they_claim() -> None:
    rng, held = np.random.default_rng(7), 0
    for trial in range(NUM_TRIALS):
        image = rng.gamma(2.0, 0.5, size=120)  # how easy an image is, for both systems
        a, b = image + rng.normal(0, 0.3, size=120), image + 0.1 + rng.normal(0, 0.3, size=120)
        resampled = bootstrap([mean(b - a)], num_resamples=1000, seed=trial)["mean"]
        interval = percentiles(resampled)
        held += interval.low <= 0.1 <= interval.high
    assert within_binomial_error(held, 0.95), held


def test_groups_cover_the_seeds_too() -> None:
    # Settings A and B are equal; each run has an effect of its own, and each caption another.
    rng, rejected, naive = np.random.default_rng(5), 0, 0
    for _ in range(150):
        image = rng.normal(0, 1, size=80)
        runs = [image + rng.normal(0, 0.15) + rng.normal(0, 0.3, size=80) for _ in range(6)]
        a, b = system("a", *runs[:3]), system("b", *runs[3:])
        p = difference_of(compared(a, b)).p
        assert p is not None
        rejected += p < 0.05
        pooled = [mean(np.mean(each, axis=0)) for each in (runs[:3], runs[3:])]
        naive += randomisation(pooled[:1], pooled[1:], num_trials=1000, seed=0)["mean"] < 0.05
    assert rejected / 150 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)
    assert naive / 150 > 0.3  # a test of the images alone takes the noise of the seeds for a difference


def test_students_t_is_that_of_the_tables() -> None:
    for freedom, quantile in ((1, 12.706), (2, 4.303), (4, 2.776), (10.5, 2.2138), (30, 2.042), (100_000, 1.95999)):
        assert student_quantile(0.95, freedom) == pytest.approx(quantile, abs=2e-3)
        assert student_share(quantile, freedom) == pytest.approx(0.95, abs=1e-4)
    assert student_share(0.0, 5) == 0.0


def test_a_group_by_hand() -> None:
    # All images have one value, so only the runs vary: 1, 2, 3 against 4, 5, 6. Variance 1/3 + 1/3, 4 degrees of freedom.
    a, b = (system(name, *([value] * 10 for value in values)) for name, values in (("a", (1, 2, 3)), ("b", (4, 5, 6))))
    found = difference_of(compared(a, b))
    half = 2.7764 * math.sqrt(2 / 3)
    assert found.value == pytest.approx(3)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((3 - half, 3 + half), abs=1e-3)
    assert found.p == pytest.approx(0.02131, abs=1e-4)  # t = 3.674, 4 degrees of freedom


def test_pairing_takes_out_what_both_systems_find_hard() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(0, 5, size=300)
    a, b = image + rng.normal(0, 0.5, size=300), image + 0.5 + rng.normal(0, 0.5, size=300)
    paired = difference_of(compared(system("a", a), system("b", b)))
    shuffled = difference_of(compared(system("a", rng.permutation(a)), system("b", b)))
    assert paired.interval is not None
    assert shuffled.interval is not None
    assert paired.interval.low > 0 > shuffled.interval.low
    assert paired.p is not None
    assert shuffled.p is not None
    assert paired.p < 0.001 < shuffled.p


def test_better_equal_and_worse_follow_the_direction_of_the_score() -> None:
    a, b = [0.0, 1.0, 2.0, 3.0], [0.5, 1.0, 1.0, 1.5]
    found = difference_of(compared(system("a", a), system("b", b), num_images=9))
    assert (found.better, found.equal, found.worse) == (1, 1, 2)
    assert [(each.image_id, each.first, each.other) for each in found.gained] == [(0, 0.0, 0.5)]
    assert [each.image_id for each in found.lost] == [3, 2]  # the largest loss first
    assert (found.lost[0].first_caption, found.lost[0].other_caption) == ("a-0 3", "b-0 3")
    lower = difference_of(
        compared(*(system(n, v, lower_is_better=True) for n, v in (("a", a), ("b", b))), num_images=9)
    )
    assert (lower.better, lower.equal, lower.worse) == (2, 1, 1)
    assert [each.image_id for each in lower.gained] == [3, 2]


def test_an_image_that_changed_only_by_rounding_is_neither_gained_nor_lost() -> None:
    found = difference_of(compared(system("a", [0.2, 0.5, 0.6]), system("b", [0.7, 0.5 + 1e-15, 0.3]), num_images=9))
    assert ([each.image_id for each in found.gained], [each.image_id for each in found.lost]) == ([0], [2])


def test_three_systems_are_compared_with_the_first_under_holms_correction() -> None:
    rng = np.random.default_rng(4)
    image = rng.normal(0, 1, size=60)
    a, b, c = (system(n, image + s + rng.normal(0, 0.4, size=60)) for n, s in (("a", 0.0), ("b", 0.12), ("c", 0.3)))
    found = compared(a, b, c)
    to_b, to_c = found.differences
    alone = difference_of(compared(a, b))
    assert (to_b.system, to_c.system) == ("b", "c")
    assert to_b.p == alone.p == alone.p_corrected
    assert to_b.p is not None
    assert to_c.p is not None
    assert to_c.p < to_b.p
    assert to_c.p_corrected == pytest.approx(2 * to_c.p)
    assert to_b.p_corrected == pytest.approx(max(to_b.p, 2 * to_c.p))

"""The paired bootstrap: values by hand, coverage by simulation, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from capfw.core.comparing import paired_bootstrap, resampled_sums
from capfw.core.errors import DataError, RequestError


def test_two_images_by_hand() -> None:
    # The differences are 1 and 0. A resample of two holds their mean 0, 1/2 or 1, with probabilities 1/4, 1/2 and 1/4.
    first, second = {"a": 3.0, "b": 5.0}, {"a": 2.0, "b": 5.0}
    wide = paired_bootstrap(first, second)
    assert (wide.value, wide.low, wide.high) == (0.5, 0.0, 1.0)
    assert (wide.confidence, wide.num_images, wide.num_resamples, wide.seed) == (0.95, 2, 10_000, 0)
    narrow = paired_bootstrap(first, second, confidence=0.4)  # from the 30th to the 70th percentile: both are 1/2
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_resamples_of_two_images_have_their_probabilities() -> None:
    sums = resampled_sums(np.array([[1.0, 10.0], [0.0, 1.0]]), num_resamples=20_000, seed=3)
    pairs, counts = np.unique(sums, axis=0, return_counts=True)
    assert pairs.tolist() == [[0.0, 2.0], [1.0, 11.0], [2.0, 20.0]]  # both columns are of the same images
    assert counts / 20_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.015)


def test_the_interval_is_that_of_a_normal_mean_for_many_images() -> None:
    differences = np.random.default_rng(1).normal(0.2, 1.0, size=2000)
    found = paired_bootstrap(dict(enumerate(differences)), dict.fromkeys(range(2000), 0.0))
    half = 1.959964 * differences.std() / math.sqrt(2000)
    assert found.low == pytest.approx(found.value - half, abs=0.05 * half)
    assert found.high == pytest.approx(found.value + half, abs=0.05 * half)


def test_intervals_hold_the_true_difference_as_often_as_they_claim() -> None:
    rng = np.random.default_rng(7)
    num_trials, num_images, num_held = 400, 100, 0
    for trial in range(num_trials):
        image = rng.gamma(2.0, 0.5, size=num_images)  # how easy an image is, for both systems
        first = image + 0.1 + rng.normal(0, 0.3, size=num_images)
        second = image + rng.normal(0, 0.3, size=num_images)
        found = paired_bootstrap(
            dict(enumerate(first)), dict(enumerate(second)), num_resamples=1000, confidence=0.9, seed=trial
        )
        num_held += found.low <= 0.1 <= found.high
    assert num_held / num_trials == pytest.approx(0.9, abs=0.045)  # three binomial standard deviations


def test_pairing_takes_out_what_both_systems_find_hard() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(0, 5, size=300)
    first = image + 0.5 + rng.normal(0, 0.5, size=300)
    second = image + rng.normal(0, 0.5, size=300)
    paired = paired_bootstrap(dict(enumerate(first)), dict(enumerate(second)))
    shuffled = paired_bootstrap(dict(enumerate(first)), dict(enumerate(rng.permutation(second))))
    assert paired.low > 0 > shuffled.low


def test_order_does_not_matter_and_exchange_changes_the_sign() -> None:
    rng = np.random.default_rng(4)
    first, second = (dict(zip(range(50), rng.random(50).tolist(), strict=True)) for _ in range(2))
    found = paired_bootstrap(first, second)
    assert paired_bootstrap(dict(reversed(first.items())), second) == found
    other = paired_bootstrap(second, first)
    assert (other.value, other.low, other.high) == pytest.approx((-found.value, -found.high, -found.low))
    assert paired_bootstrap(first, second, seed=1) != found


def test_different_images_are_refused_with_their_ids() -> None:
    with pytest.raises(DataError) as caught:
        paired_bootstrap({1: 0.5, 2: 0.5, 3: 0.1}, {1: 0.5, "2": 0.5, 3: 0.2})
    assert str(caught.value) == (
        "the two systems have different images; only one has 2, '2'.\n"
        "  Compare them on the same split, with one value per image."
    )
    with pytest.raises(DataError, match=r"no image[\s\S]*Give the values"):
        paired_bootstrap({}, {})


def test_values_that_are_no_numbers_and_useless_options_are_refused() -> None:
    with pytest.raises(DataError, match=r"not finite for b\.\n  Leave the metric out"):
        paired_bootstrap({"a": 1.0, "b": math.nan}, {"a": 1.0, "b": 1.0})
    with pytest.raises(RequestError, match=r"num_resamples: 999 resamples are too few[\s\S]*1000 or more"):
        paired_bootstrap({"a": 1.0}, {"a": 1.0}, num_resamples=999)
    with pytest.raises(RequestError, match=r"confidence: 95 is no share[\s\S]*0\.95"):
        paired_bootstrap({"a": 1.0}, {"a": 1.0}, confidence=95)

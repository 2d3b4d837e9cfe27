"""Bootstrap, randomisation and Holm's correction: values by hand, true nulls, and corpus scores that are no means."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from capfw.core.errors import PluginError
from capfw.core.protocols import Captioned, ImageId, Scores
from capfw.core.resampling import (
    Array,
    SummedScores,
    bootstrap,
    functions_of,
    holm,
    intervals_of,
    percentiles,
    randomisation,
    resampled_sums,
    summed_scores,
)
from capfw.plugins.libraries.document_frequencies import write_document_frequencies
from capfw.plugins.metrics.coco_caption import BleuConfig, CiderConfig, RougeLConfig
from capfw.plugins.metrics.coco_caption.model import Bleu, Cider, RougeL

WORDS = ["a", "the", "dog", "cat", "man", "red", "small", "runs", "sits", "on", "in", "grass", "street", "two"]


def mean_scores(values: Array) -> list[SummedScores]:
    """A score that is the mean of these values."""
    per_image: dict[str, dict[ImageId, float]] = {"mean": dict(enumerate(values.tolist()))}
    return summed_scores(range(len(values)), {"mean": float(values.mean())}, per_image, [])


def captions(count: int, seed: int) -> tuple[dict[ImageId, str], dict[ImageId, tuple[str, ...]]]:
    rng = np.random.default_rng(seed)

    def text() -> str:
        return " ".join(rng.choice(WORDS, size=rng.integers(3, 9)))

    return {i: text() for i in range(count)}, {i: (text(), text(), text()) for i in range(count)}


def summed(metric: Bleu | Cider | RougeL, captioned: Captioned) -> tuple[Scores, list[SummedScores]]:
    scores = metric.score(captioned)
    functions = functions_of([metric], [scores.statistics])
    return scores, summed_scores(captioned.candidates, scores.corpus, scores.per_image, functions)


def test_two_images_by_hand() -> None:
    # A resample of the values 1 and 0 holds their mean 0, 1/2 or 1, with probabilities 1/4, 1/2 and 1/4.
    resampled = bootstrap(mean_scores(np.array([1.0, 0.0])), num_resamples=20_000, seed=3)["mean"]
    values, counts = np.unique(resampled, return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0]
    assert counts / 20_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.015)
    interval = percentiles(resampled)
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_one_seed_draws_the_same_images_for_all_scores() -> None:
    sums = resampled_sums(np.array([[1.0, 10.0], [0.0, 1.0]]), num_resamples=2000, seed=3)
    assert np.unique(sums, axis=0).tolist() == [[0.0, 2.0], [1.0, 11.0], [2.0, 20.0]]
    alone = resampled_sums(np.array([[10.0], [1.0]]), num_resamples=2000, seed=3)
    assert alone[:, 0].tolist() == sums[:, 1].tolist()
    assert resampled_sums(np.array([[10.0], [1.0]]), num_resamples=2000, seed=4).tolist() != alone.tolist()


def test_the_interval_is_that_of_a_normal_mean_for_many_images() -> None:
    values = np.random.default_rng(1).normal(0.2, 1.0, size=2000)
    found = intervals_of(mean_scores(values))["mean"]
    half = 1.959964 * values.std() / math.sqrt(2000)
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_randomisation_by_hand() -> None:
    # The differences are 1, 1, 1 and 1: of 16 equally likely exchanges, 2 have a difference of 1 or -1.
    found = randomisation(mean_scores(np.zeros(4)), mean_scores(np.ones(4)), num_trials=20_000, seed=0)
    assert found["mean"] == pytest.approx(2 / 16, abs=0.01)
    same = np.random.default_rng(0).random(50)
    assert randomisation(mean_scores(same), mean_scores(same), num_trials=1000, seed=0) == {"mean": 1.0}
    apart = randomisation(mean_scores(same), mean_scores(same + 1), num_trials=1000, seed=0)
    assert apart["mean"] == 1 / 1001  # the real difference counts as a trial


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.2]) == [0.2]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("make", [lambda: Bleu(BleuConfig()), lambda: RougeL(RougeLConfig())], ids=["bleu", "rouge-l"])
def test_the_bootstrap_equals_scoring_the_resampled_corpus(make: Callable[[], Bleu | RougeL]) -> None:
    candidates, references = captions(60, seed=5)
    assert recomputed(make(), candidates, references, make()) > 0


def test_ciders_bootstrap_keeps_the_document_frequencies_of_the_whole_split(tmp_path: Path) -> None:
    candidates, references = captions(60, seed=6)
    counts = tmp_path / "counts.json"
    write_document_frequencies(counts, references, origin="the split")
    with_counts = Cider(CiderConfig(document_frequencies=counts))
    assert recomputed(Cider(CiderConfig()), candidates, references, with_counts) > 0


def recomputed(
    metric: Bleu | Cider | RougeL,
    candidates: dict[ImageId, str],
    references: dict[ImageId, tuple[str, ...]],
    again: Bleu | Cider | RougeL,
) -> float:
    """Compares 20 resamples with `again` on the corpus that they draw; returns the spread of the values."""
    captioned = Captioned(candidates, references)
    _, scores = summed(metric, captioned)
    resampled = bootstrap(scores, num_resamples=20, seed=8)
    counts = resampled_sums(np.eye(len(candidates)), num_resamples=20, seed=8).astype(int)  # how often each is drawn
    for place, drawn in enumerate(counts):
        repeated = {f"{i}-{copy}": i for i, count in enumerate(drawn) for copy in range(count)}
        corpus = Captioned(
            {n: candidates[i] for n, i in repeated.items()}, {n: references[i] for n, i in repeated.items()}
        )
        expected = again.score(corpus).corpus
        assert {name: values[place] for name, values in resampled.items()} == pytest.approx(expected, abs=1e-9, rel=0)
    return float(min(np.ptp(values) for values in resampled.values()))


def test_a_corpus_value_that_is_no_mean_has_no_interval_without_statistics() -> None:
    values: dict[ImageId, float] = {1: 0.0, 2: 1.0, 3: 1.0}
    assert summed_scores(values, {"x": 0.5}, {"x": values}, []) == []
    [found] = summed_scores(values, {"x": 2 / 3, "y": 3.0}, {"x": values}, [])
    assert found.names == ("x",)
    assert intervals_of(summed_scores([1], {"x": 0.5}, {"x": {1: 0.5}}, [])) == {}  # one image


def test_wrong_statistics_are_refused() -> None:
    def twice(sums: Array) -> dict[str, Array]:
        return {"x": 2 * sums[..., 0]}

    with pytest.raises(
        PluginError, match=r"give x 6\.0, and the corpus value is 3\.0\.\n  Correct the metric; `capfw pl"
    ):
        summed_scores([1, 2], {"x": 3.0}, {}, [(twice, {1: [1.0], 2: [2.0]})])
    with pytest.raises(PluginError, match="statistics of x fail: KeyError: 2"):
        summed_scores([1, 2], {"x": 3.0}, {}, [(twice, {1: [1.0]})])
    with pytest.raises(PluginError, match=r"metric RougeL has statistics, but no method corpus_of"):
        functions_of([RougeL], [{1: [1.0]}])

"""The tokens of a caption: their texts make the caption, their log-probabilities make its log-probability."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from capfw import Registry, load_spec, run
from capfw.core.engine.caption_tokens import token_texts
from capfw.core.engine.evaluation import Evaluation
from capfw.core.engine.model import CaptioningModel

from ..tiny_parts import GPT2

METHODS: dict[str, dict[str, Any]] = {
    "greedy": {"method": "greedy", "max_tokens": 6},
    "beam": {"method": "beam", "num_beams": 3, "num_captions": 2, "max_tokens": 20},
    "nucleus": {"method": "nucleus", "temperature": 1.5, "num_captions": 2, "max_tokens": 20},
}


@pytest.mark.parametrize("unit", ["words", "subwords"])
@pytest.mark.parametrize("method", METHODS)
def test_tokens_add_up_to_the_caption(tiny: Callable[..., Path], registry: Registry, method: str, unit: str) -> None:
    decoder = {**GPT2, "vocabulary_unit": unit, "vocabulary_size": 300}
    spec = load_spec(tiny(generate=METHODS[method], decoder=decoder), registry=registry)
    run_dir = run(spec, registry=registry).run_dir

    written = json.loads((run_dir / "candidates/test.json").read_text())

    assert len(written) == 4
    for entry in written:
        texts, log_probs = zip(*entry["token_log_probs"], strict=True)
        assert "".join(texts) == entry["caption"]
        assert math.fsum(log_probs) == pytest.approx(entry["log_prob"], abs=1e-3 * len(texts))
        assert all(value <= 0 for value in log_probs)
        assert len(texts) <= METHODS[method]["max_tokens"]
        assert len(texts) > len(set(entry["caption"].split())) / 2
    read = Evaluation.read(run_dir, "test")
    assert read is not None
    assert [[list(token) for token in captions[0].tokens] for captions in read.captions.values()] == [
        entry["token_log_probs"] for entry in written
    ]


def test_a_letter_of_several_tokens_belongs_to_one_of_them() -> None:
    class Bytes:
        """One token per byte, as byte-level vocabularies have for rare letters; 0 ends."""

        def detokenize(self, ids: Sequence[Sequence[int]]) -> list[str]:
            return [bytes(each for each in row if each).decode("utf-8", "replace").strip() for row in ids]

    ids = [[*"né".encode(), 0], [*"a 🙂!".encode()]]
    assert token_texts(cast("CaptioningModel", Bytes()), ids) == [
        ["n", "", "é", ""],
        ["a", "", " ", "", "", "🙂", "!"],
    ]

"""METEOR 1.5, with pycocoevalcap's jar and our own pipe to it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ....core.protocols import Captioned, MissingLibrary, Scores
from . import MeteorConfig
from .captions import common_signature, tokenized_pairs
from .java import find_java, java_process, package_file

# The parameters of METEOR 1.5 for English, which `-l en` selects (Denkowski and Lavie, 2014).
_PRECISION, _PENALTY_POWER, _PENALTY, _CONTENT = 0.85, 0.2, 0.6, 0.75
_MATCHERS = (1.0, 0.6, 0.8, 0.6)  # exact, stem, synonym, paraphrase


class Meteor:
    """METEOR of the corpus (from the summed statistics, not the mean) and per image.

    A line feed ends METEOR's message, so pycocoevalcap's own wrapper hangs when a caption holds one. Here each caption is
    one line without METEOR's separator "|||". Needs Java 8 or newer (tested with 17).
    """

    def __init__(self, config: MeteorConfig) -> None:
        """Raises `MissingLibrary` when Java or METEOR's data is missing."""
        (self.name,) = config.score_names()
        self.timeout_seconds = config.timeout_seconds
        java, self.java_version = find_java(config.java, metric="meteor", versions=range(8, 1000))
        jar, paraphrases = package_file("meteor/meteor-1.5.jar"), package_file("meteor/data/paraphrase-en.gz")
        for file in (jar, paraphrases):
            if not file.is_file():
                raise MissingLibrary(
                    f"metric meteor needs {file}, a file of pycocoevalcap, which is missing.",
                    fix="pip install --force-reinstall --no-deps pycocoevalcap",
                )
        memory = f"-Xmx{config.max_memory_gb}G"
        options = ["-", "-", "-stdio", "-l", "en", "-norm"]
        self.command = [java, memory, "-Dfile.encoding=UTF-8", "-jar", str(jar), *options]

    def score(self, captioned: Captioned) -> Scores:
        """Raises `DataError` for an image without candidate or references, `CapfwError` when Java fails or times out."""
        candidate_tokens, reference_tokens = tokenized_pairs(captioned)
        with (
            tempfile.TemporaryDirectory(prefix="capfw-meteor-") as folder,
            java_process(self.command, metric="meteor", timeout_seconds=self.timeout_seconds, cwd=Path(folder)) as (
                requests,
                answers,
            ),
        ):
            lines = {}
            for image_id, captions in reference_tokens.items():
                fields = ["SCORE", *map(_one_field, captions), _one_field(candidate_tokens[image_id][0])]
                _send(requests, " ||| ".join(fields))
                lines[image_id] = _receive(answers)
            _send(requests, " ||| ".join(["EVAL", *lines.values()]))
            per_image = {image_id: float(_receive(answers)) for image_id in captioned.references}
            corpus = float(_receive(answers))
        statistics = {image_id: [float(number) for number in line.split()] for image_id, line in lines.items()}
        return Scores({self.name: corpus}, {self.name: per_image}, statistics=statistics)

    @staticmethod
    def corpus_of(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Computes METEOR 1.5 with its parameters for English, from sums of the 23 numbers that it prints for an image.

        These are the numbers of words in candidate and reference; of function words in both; of matched content words in
        both and matched function words in both, for each of four matchers; of chunks; of matched words in both.
        """
        words, function_words = sums[..., 0:2], sums[..., 2:4]  # (..., 2): candidate, reference
        matches = sums[..., 4:20].reshape(
            *sums.shape[:-1], 4, 2, 2
        )  # matcher; content or function; candidate or reference
        chunks, matched = sums[..., 20], sums[..., 21:23]
        weighted = np.einsum("m,c,...mcs->...s", _MATCHERS, [_CONTENT, 1 - _CONTENT], matches)
        precision, recall = np.moveaxis(
            _ratio(weighted, _CONTENT * (words - function_words) + (1 - _CONTENT) * function_words), -1, 0
        )
        mean = _ratio(precision * recall, _PRECISION * precision + (1 - _PRECISION) * recall)
        is_whole = (matched == words).all(-1) & (chunks == 1)
        fragmentation = np.where(is_whole, 0, _ratio(chunks, matched.mean(-1)))
        return {"METEOR": mean * (1 - _PENALTY * fragmentation**_PENALTY_POWER)}

    def signature(self) -> dict[str, str]:
        """Tokenizer, library, variant and Java version."""
        return common_signature("METEOR 1.5, -l en -norm") | {"java": str(self.java_version)}


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """`part` / `whole`; 0 where `whole` is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)


def _one_field(caption: str) -> str:
    return " ".join(caption.replace("|||", " ").split())


def _send(requests: IO[str], line: str) -> None:
    requests.write(line + "\n")
    requests.flush()


def _receive(answers: IO[str]) -> str:
    line = answers.readline()
    if not line:
        raise EOFError("it stopped answering")
    return line.strip()

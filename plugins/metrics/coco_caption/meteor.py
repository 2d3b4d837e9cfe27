"""METEOR 1.5, with pycocoevalcap's jar and our own pipe to it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO

from ....core.protocols import Captioned, MissingLibrary, Scores
from . import MeteorConfig
from .captions import common_signature, tokenized_pairs
from .java import find_java, java_process, package_file


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
            statistics = []
            for image_id, captions in reference_tokens.items():
                fields = ["SCORE", *map(_one_field, captions), _one_field(candidate_tokens[image_id][0])]
                _send(requests, " ||| ".join(fields))
                statistics.append(_receive(answers))
            _send(requests, " ||| ".join(["EVAL", *statistics]))
            per_image = {image_id: float(_receive(answers)) for image_id in captioned.references}
            corpus = float(_receive(answers))
        return Scores({self.name: corpus}, {self.name: per_image})

    def signature(self) -> dict[str, str]:
        """Tokenizer, library, variant and Java version."""
        return common_signature("METEOR 1.5, -l en -norm") | {"java": str(self.java_version)}


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

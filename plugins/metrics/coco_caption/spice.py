"""SPICE 1.0, with pycocoevalcap's jar, in a temporary folder."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from ....core.protocols import CapfwError, Captioned, MissingLibrary, Scores
from . import SpiceConfig
from .captions import common_signature, tokenized_pairs
from .java import find_java, java_process, package_file

CORENLP_JARS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
CORENLP_ARCHIVE = "stanford-corenlp-full-2015-12-09.zip"


class Spice:
    """SPICE per image, and the mean over images.

    SPICE writes its results with Java's JavaScript engine, which only Java 8 to 14 have. Its cache of parses is off: it
    needs a writable folder that outlives the run.
    """

    def __init__(self, config: SpiceConfig) -> None:
        """Raises `MissingLibrary` without Java 8 to 14, or without Stanford CoreNLP 3.6.0 and its models."""
        (self.name,) = config.score_names()
        self.timeout_seconds = config.timeout_seconds
        libraries = package_file("spice/lib")
        corenlp = config.corenlp_folder or libraries
        missing = [jar for jar in CORENLP_JARS if not (corenlp / jar).is_file()]
        if missing:
            raise MissingLibrary(
                f"metric spice needs {' and '.join(missing)} in {corenlp}.",
                option="corenlp_folder",
                fix=f"Download Stanford CoreNLP 3.6.0 ({CORENLP_ARCHIVE}, from the Stanford NLP Group), "
                f'put the two jars into a folder, and set "corenlp_folder" to it.',
            )
        java, self.java_version = find_java(config.java, metric="spice", versions=range(8, 15))
        class_path = [package_file("spice/spice-1.0.jar"), *(corenlp / jar for jar in CORENLP_JARS), libraries / "*"]
        self.command = [java, f"-Xmx{config.max_memory_gb}G", "-Dfile.encoding=UTF-8", "-cp"]
        self.command += [os.pathsep.join(map(str, class_path)), "edu.anu.spice.SpiceScorer"]

    def score(self, captioned: Captioned) -> Scores:
        """Raises `DataError` for an image without candidate or references, `CapfwError` when Java fails or times out."""
        candidate_tokens, reference_tokens = tokenized_pairs(captioned)
        ids = list(reference_tokens)
        # Numbers replace the ids, so that 7 and "7" stay two images.
        captions = [
            {"image_id": number, "test": candidate_tokens[image_id][0], "refs": reference_tokens[image_id]}
            for number, image_id in enumerate(ids)
        ]
        with tempfile.TemporaryDirectory(prefix="capfw-spice-") as folder:
            asked, answered = Path(folder, "captions.json"), Path(folder, "scores.json")
            asked.write_text(json.dumps(captions), "utf-8")
            command = [*self.command, str(asked), "-out", str(answered), "-silent"]
            with java_process(command, metric="spice", timeout_seconds=self.timeout_seconds, cwd=Path(folder)):
                pass
            if not answered.is_file():
                raise CapfwError("the Java program of metric spice ended without writing scores.")
            scores = {item["image_id"]: item["scores"]["All"]["f"] for item in json.loads(answered.read_text("utf-8"))}
        values = [float(scores[number]) for number in range(len(ids))]
        return Scores({self.name: sum(values) / len(values)}, {self.name: dict(zip(ids, values, strict=True))})

    def signature(self) -> dict[str, str]:
        """Tokenizer, library, variant and Java version."""
        return common_signature("SPICE 1.0, Stanford CoreNLP 3.6.0") | {"java": str(self.java_version)}

"""Runs Stanford's PTBTokenizer, which the observed lists and recorded tokens come from."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from capfw.plugins.metrics.coco_caption.java import package_file

# pycocoevalcap removes these tokens afterwards; its brackets are upper case and match nothing.
REMOVED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])


class JavaTokenizer:
    """Stanford's PTBTokenizer, as pycocoevalcap calls it."""

    name = "pycocoevalcap 1.2 PTBTokenizer (Stanford CoreNLP 3.4.1)"

    def lines(self, captions: Sequence[str]) -> list[str]:
        """Tokens of each caption, joined by spaces, in one run over all of them in this order."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "captions.txt"
            file.write_text("".join(caption.replace("\n", " ") + "\n" for caption in captions), "utf-8", newline="")
            jar = str(package_file("tokenizer/stanford-corenlp-3.4.1.jar"))
            command = ["java", "-cp", jar, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
            done = subprocess.run([*command, str(file)], capture_output=True, check=True)
        lines = done.stdout.decode().split("\n")[:-1]
        if len(lines) != len(captions):
            raise ValueError(f"Java answered {len(captions)} captions with {len(lines)} lines: one has a line break.")
        return [line.rstrip() for line in lines]


JAVA = JavaTokenizer()


def without_punctuation(line: str) -> str:
    """Tokens that pycocoevalcap keeps."""
    return " ".join(token for token in line.split(" ") if token not in REMOVED)

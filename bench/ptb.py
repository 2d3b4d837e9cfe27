"""Times PTB tokenisation of a large, varied corpus in capfw and in Java.

python bench/ptb.py CAPTIONS.json [CAPTIONS.json ...]

The corpus is 145,000 different captions. A seeded generator makes them from real ones (COCO format): it exchanges words,
inserts numbers and changes punctuation. Java's time includes its start, as in pycocoevalcap.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from capfw.plugins.libraries.ptb import tokenize_all
from capfw.plugins.metrics.coco_caption.java import package_file

NUM_CAPTIONS = 145_000
ENDS = (".", " .", "", "!", "?", "...", ' "', ". The end.", "; No. 7", " (left)")
BETWEEN = (",", ";", " -", "'s", " and", ":", ".", " &")


def varied(captions: list[str], *, seed: int = 0) -> list[str]:
    """Makes different captions from the words of real ones."""
    rng = random.Random(seed)
    words = sorted({word for caption in captions for word in caption.split()})
    found: dict[str, None] = {}
    while len(found) < NUM_CAPTIONS:
        tokens = rng.choice(captions).rstrip(". \n").split() or ["a"]
        for _ in range(3):
            tokens[rng.randrange(len(tokens))] = rng.choice(words)
        if rng.random() < 0.2:
            tokens.insert(
                rng.randrange(len(tokens)),
                rng.choice(["{}", "{}.5", "#{}", "{}th", "{}/2"]).format(rng.randrange(5000)),
            )
        if rng.random() < 0.3:
            tokens[rng.randrange(len(tokens))] += rng.choice(BETWEEN)
        found[" ".join(tokens) + rng.choice(ENDS)] = None
    return list(found)


def java_seconds(captions: list[str], java: str) -> float:
    """Returns the time of one run of Stanford's tokenizer, called as pycocoevalcap calls it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "captions.txt"
        file.write_text("\n".join(captions), "utf-8")
        jar = str(package_file("tokenizer/stanford-corenlp-3.4.1.jar"))
        command = [java, "-cp", jar, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase", str(file)]
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - started


def main() -> None:
    """Prints both times and their ratio."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    annotations = [a for file in sys.argv[1:] for a in json.loads(Path(file).read_text("utf-8"))["annotations"]]
    captions = varied([annotation["caption"] for annotation in annotations])
    started = time.perf_counter()
    tokenize_all(captions)
    here = time.perf_counter() - started
    print(f"capfw  {len(captions):,} captions in {here:.1f} s")
    java = shutil.which("java")
    if java is None:
        print("Java   skipped: there is no program java on the PATH")
        return
    there = java_seconds(captions, java)
    print(f"Java   {len(captions):,} captions in {there:.1f} s; capfw takes {here / there:.1f} times as long")


if __name__ == "__main__":
    main()

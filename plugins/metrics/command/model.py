"""Runs the program of metric "command", and reads its scores."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NoReturn

from ....core.protocols import CapfwError, Captioned, DataError, FileSource, ImageId, MissingLibrary, Scores, Source
from ...libraries.programs import running_program
from . import CommandConfig

_WANTED = 'Write one JSON object: {"NAME": [one number per line of the input], ...}, or a number for the whole corpus.'


class Command:
    """The scores that a program writes to its standard output, for the images in its standard input.

    Each line of the input is an object: image_id, candidate, references, and where there are any, n_best (all captions of
    the image, best first) and image (a path). The output is one object with an entry for each score: a list with the value
    of each line, whose mean is the corpus score; a number for the corpus; or {"corpus": number, "per_image": list}.
    """

    def __init__(self, config: CommandConfig) -> None:
        """Raises `MissingLibrary` where there is no such program."""
        self.config = config
        self.folder = config.folder or Path.cwd()
        program, *self.arguments = config.command
        is_path = "/" in program or "\\" in program
        found = shutil.which(str(self.folder / Path(program).expanduser()) if is_path else program)
        if found is None:
            raise MissingLibrary(
                f'metric command runs the program "{program}", which is not '
                + (f"in {self.folder}, or cannot be executed." if is_path else "on the PATH."),
                option="command",
                fix="Install it, or name its path; a path is relative to the option folder.",
            )
        self.program = found

    def score(self, captioned: Captioned) -> Scores:
        """Raises `DataError` without captions, and `CapfwError` when the program fails, is too slow or writes nonsense."""
        if not captioned.candidates:
            raise DataError("there are no captions to score.", fix="Score at least one image.")
        with (
            tempfile.TemporaryDirectory(prefix="capfw-command-") as folder,
            Path(folder, "captions.jsonl").open("w+", encoding="utf-8") as given,
        ):
            self._write(captioned, given, Path(folder))
            given.seek(0)
            with running_program(
                [self.program, *self.arguments],
                metric="command",
                timeout_seconds=self.config.timeout_seconds,
                cwd=self.folder,
                given=given,
            ) as process:
                assert process.stdout is not None
                answer = process.stdout.read()
        return self._read(answer, list(captioned.candidates))

    def signature(self) -> dict[str, str]:
        return {
            "tokenizer": "that of the program",
            "library": self.config.version or "no version given",
            "variant": shlex.join(self.config.command),
        }

    def _write(self, captioned: Captioned, file: IO[str], folder: Path) -> None:
        sources = captioned.require_sources(needed_by="command") if self.config.images else None
        for number, (image_id, candidate) in enumerate(captioned.candidates.items()):
            references = captioned.references.get(image_id, ())
            line: dict[str, object] = {"image_id": image_id, "candidate": candidate, "references": references}
            if captioned.n_best is not None:
                line["n_best"] = captioned.n_best[image_id]
            if sources is not None:
                line["image"] = _path_of(sources, image_id, folder / str(number))
            file.write(json.dumps(line) + "\n")

    def _read(self, answer: str, ids: list[ImageId]) -> Scores:
        try:
            found = json.loads(answer)
        except ValueError as err:
            _refuse(f"it wrote no JSON ({err}), but {answer.strip()[:100]!r}")
        if not isinstance(found, dict):
            _refuse(f"it wrote no JSON object, but {answer.strip()[:100]!r}")
        if set(found) != set(self.config.scores):
            _refuse(f"it wrote the scores {', '.join(found) or 'none'}; the spec names {', '.join(self.config.scores)}")
        corpus, per_image = dict[str, float](), dict[str, dict[ImageId, float]]()
        for name in self.config.scores:
            value = found[name]
            parts = value if isinstance(value, dict) else {"per_image" if isinstance(value, list) else "corpus": value}
            if not parts or not parts.keys() <= {"corpus", "per_image"}:
                _refuse(f'{name} has the entries {", ".join(parts) or "none"}, not "corpus" and "per_image"')
            if "per_image" in parts:
                values = parts["per_image"]
                if not isinstance(values, list) or len(values) != len(ids):
                    count = len(values) if isinstance(values, list) else "no list of"
                    _refuse(f"{name} has {count} values for {len(ids)} images")
                per_image[name] = {
                    i: _number(each, f"{name} of image {i}") for i, each in zip(ids, values, strict=True)
                }
            mean = sum(per_image[name].values()) / len(ids) if name in per_image else math.nan
            corpus[name] = _number(parts["corpus"], name) if "corpus" in parts else mean
        return Scores(corpus, per_image)


def _path_of(sources: Mapping[ImageId, Source], image_id: ImageId, copy: Path) -> str:
    """The path of an image's file; of an image that is no file, that of a copy."""
    if image_id not in sources:
        raise DataError(f"image {image_id} is not there.", fix="Give the image of every candidate.")
    source = sources[image_id]
    if isinstance(source, FileSource):
        return str(source.path.resolve())
    copy.write_bytes(source.read())
    return str(copy)


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        _refuse(f"{what} is {json.dumps(value)[:60]}, not a finite number")
    return float(value)


def _refuse(what: str) -> NoReturn:
    raise CapfwError(f"the program of metric command failed: {what}.", fix=_WANTED)

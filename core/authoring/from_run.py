"""Begins a first spec with a trained run, for fine-tuning on other photos: `capfw init --from RUN`. It needs no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError, PluginError, RequestError, listed
from ..protocols import DecoderConfig, Kind, narrowed
from ..registry import Registry
from ..spec import load_part
from ..spec.provenance import ENVIRONMENT, Provenance
from ..spec.trained import BEST_FILE, SPEC_FILE, require_trained

PARTS: tuple[Kind, ...] = ("encoder", "mapper", "decoder")
LR_SHARE = 0.3
"""The peak learning rate of fine-tuning, as a share of the run's: measured by bench/fine_tuning.py."""
EPOCHS = 10
# The settings of /train that belong to the parts; the others are set for fine-tuning or have their defaults.
_KEPT = ("batch_size", "micro_batch_size", "max_caption_tokens", "precision", "objective")
_NUM_SHOWN = 8


@dataclass(frozen=True)
class TrainedRun:
    """A trained run with which another run begins.

    path: its directory. spec: its resolved spec. step: that of its best checkpoint. has_ended: its training has ended, here
    or, for an imported run, elsewhere.
    """

    path: Path
    spec: Mapping[str, Any]
    step: int
    has_ended: bool

    @classmethod
    def read(cls, path: Path) -> TrainedRun:
        """Reads the run in `path`. Raises `RequestError` where there is no trained run, `DataError` for damaged files."""
        require_trained(path)
        spec, best = _read(path / SPEC_FILE), _read(path / BEST_FILE)
        if missing := [
            name for name in (*PARTS, "features", "train", "generate") if not isinstance(spec.get(name), dict)
        ]:
            what = f"this spec lacks {listed(missing, 3)}."
            raise DataError(what, where=str(path / SPEC_FILE), fix="Name a run directory as `capfw run` wrote it.")
        environment = _read(path / ENVIRONMENT)
        return cls(path, spec, int(best["step"]), bool(environment.get("is_trained")) or "imported" in environment)

    @property
    def rate(self) -> float:
        """The peak learning rate of the run."""
        return float(self.spec["train"]["lr"])

    def names(self, asked: Mapping[Kind, str], registry: Registry) -> dict[Kind, str]:
        """The names of the run's parts.

        Raises `RequestError` where `asked` has another one, and `PluginError` for one that is not installed.
        """
        found: dict[Kind, str] = {}
        for kind in PARTS:
            name = found[kind] = str(self.spec[kind].get("name"))
            if asked.get(kind, name) != name:
                what = f'{self.path} has {kind} "{name}", and its weights do not fit "{asked[kind]}".'
                raise RequestError(what, where=f"--{kind}", fix=f"Leave --{kind} out, or leave --from out.")
            try:
                registry.component(kind, name)
            except PluginError as err:
                err.where = f"--from {self.path}, /{kind}/name"
                err.fix = "\n".join(filter(None, [Provenance(self.path).hint(kind, name), err.fix]))
                raise
        return found

    def sections(self, relative: str) -> dict[str, Any]:
        """The sections of a spec that begins with this run; `relative` is its directory, relative to the spec."""
        features = {key: value for key, value in self.spec["features"].items() if key != "store"}
        context = self.spec.get("context")
        return deepcopy(
            {
                "seed": self.spec["seed"],  # frozen random weights follow from it
                **{part: self.spec[part] for part in PARTS},
                **({"context": context} if context else {}),
                "features": features,
                "train": {"from": relative, **self._training()},
                "generate": self.spec["generate"],
            }
        )

    def _training(self) -> dict[str, Any]:
        old = self.spec["train"]
        tune = {part: tuning and {**tuning, "lr": _gentle(tuning.get("lr"))} for part, tuning in old["tune"].items()}
        kept = {key: old[key] for key in _KEPT if key in old}
        return {"epochs": EPOCHS, "lr": _gentle(old["lr"]), "tune": tune, **kept}

    def require_same_parts(self, raw: Mapping[str, Any]) -> None:
        """Raises `RequestError` where an override changed a part: the run's weights would not be taken over."""
        for part in PARTS:
            if raw.get(part) != self.spec[part]:
                raise RequestError(
                    f"this changes the {part} of {self.path}, whose weights would then not fit.",
                    where=f"--set /{part}",
                    fix="Leave it out. A spec without --from may have any parts.",
                )

    def notices(self, captions: Iterable[str], registry: Registry) -> list[str]:
        """Warns before fine-tuning on `captions`: of training that has not ended, and of words that the decoder lacks."""
        notices = []
        if not self.has_ended:
            notices.append(f"the training of {self.path} has not ended; its best weights so far are taken.")
        section = self.spec["decoder"]
        config = narrowed(load_part("decoder", section, registry=registry, base_dir=self.path).config, DecoderConfig)
        if unknown := config.unknown_words(captions, assets=self.path / "assets"):
            most = sorted(unknown, key=lambda word: (-unknown[word], word))
            notices.append(
                f"the decoder of {self.path} does not know {len(unknown)} words of the training captions, which occur "
                f"{sum(unknown.values())} times: {listed([f'{word} ({unknown[word]})' for word in most], _NUM_SHOWN)}. The "
                "fine-tuned captioner cannot write them."
            )
        return notices


def _gentle(rate: float | None) -> float | None:
    """The learning rate for fine-tuning, to two digits."""
    return None if rate is None else float(f"{LR_SHARE * rate:.2g}")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise DataError(f"this file cannot be read: {err}", where=str(file), fix="Restore it, or train again.") from err
    if not isinstance(content, dict):
        raise DataError("this is not a JSON object.", where=str(file), fix="Restore it, or train again.")
    return content

"""The run directory: its lock, its spec, and the facts that it records about the run."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath

from filelock import FileLock, Timeout

from ..errors import RunError
from ..protocols import Sample
from ..registry import Registry, changed_code
from ..spec import RunSpec
from ..spec.differences import differences
from ..spec.provenance import ENVIRONMENT
from ..spec.trained import FORMAT, require_format, require_trained
from .atomic import write_json
from .checkpoint import Best, Checkpoints

_LIBRARIES = (
    "capfw",
    "torch",
    "torchvision",
    "transformers",
    "open_clip_torch",
    "timm",
    "accelerate",
    "tokenizers",
    "pycocoevalcap",
    "pillow",
    "numpy",
)


class RunDirectory:
    """Paths and records of one run. As a context manager it holds the lock of the directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.assets = path / "assets"
        self.checkpoints = Checkpoints(path / "checkpoints")
        self._lock = FileLock(path / ".lock", timeout=0)

    def __enter__(self) -> RunDirectory:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as err:  # an OSError as well
            raise RunError(
                "another process is using this run directory.",
                where=str(self.path),
                fix="Wait for it to end, or choose another /run_dir.",
            ) from err
        except OSError as err:
            raise RunError(
                f"the run directory cannot be created or written: {err.strerror or err}.",
                where=str(self.path),
                fix="Choose another in a folder where you can write.",
            ) from err
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()

    def claim(self, spec: RunSpec) -> bool:
        """Writes the resolved spec, or checks that it equals the spec of the run here; returns whether there is a run.

        A run that stopped before it had all its features (because of an error in its spec) has nothing to lose: the new
        spec replaces its spec.
        """
        if "imported" in self.environment:
            raise RunError(
                "this run was imported: it has weights, but no training to continue.",
                where=str(self.path),
                fix="Use it to caption and evaluate, or name it in /train/from and train in another /run_dir.",
            )
        file, wanted = self.path / "spec.json", spec.to_json()
        if not file.is_file():
            self._begin(wanted)
            return False
        require_format(self.path)
        differing = differences(json.loads(file.read_text()), wanted)
        if differing and "features" not in self.environment and self.checkpoints.last() is None:
            shutil.rmtree(self.assets, ignore_errors=True)
            (self.path / ENVIRONMENT).unlink(missing_ok=True)
            self._begin(wanted)
            return False
        if differing == ["/train/epochs"] and self._may_be_longer(spec):
            # In this order: a run that is killed in between is not taken for one with all of its epochs.
            self.record(is_trained=False, finished_at=None)
            write_json(file, wanted)
            return True
        if differing:
            raise RunError(
                f"this run directory holds a run with another spec; they differ at {', '.join(differing[:5])}"
                + (f" and {len(differing) - 5} more places." if len(differing) > 5 else "."),
                where=str(self.path),
                fix="Choose another /run_dir for the changed spec, or delete the old run.",
            )
        return True

    def _begin(self, wanted: object) -> None:
        self.record(format=FORMAT)
        write_json(self.path / "spec.json", wanted)

    def _may_be_longer(self, spec: RunSpec) -> bool:
        """Whether the run has had all its epochs, and the spec asks for more."""
        before = int(json.loads((self.path / "spec.json").read_text())["train"]["epochs"])
        last = self.checkpoints.last()
        is_trained = bool(self.environment.get("is_trained")) or (last is not None and last.epoch >= before)
        return is_trained and spec.train.epochs > before

    @property
    def environment(self) -> dict[str, object]:
        """The facts about the machine, the libraries and the data of this run; empty before it begins."""
        file = self.path / ENVIRONMENT
        return dict(json.loads(file.read_text())) if file.is_file() else {}

    def record(self, **facts: object) -> None:
        """Adds facts to `environment.json`."""
        write_json(self.path / ENVIRONMENT, {**self.environment, **facts})

    def best_checkpoint(self) -> Best:
        """The best checkpoint. Raises `RequestError` where there is none, before the first evaluation."""
        require_trained(self.path)
        best = self.checkpoints.best()
        assert best is not None, "it was just found"
        return best

    @property
    def seed(self) -> int:
        """The seed in the run's spec."""
        return int(json.loads((self.path / "spec.json").read_text(encoding="utf-8"))["seed"])

    @property
    def encoder_fingerprint(self) -> str | None:
        """The fingerprint of the encoder in training; None before extraction, or where the encoder is tuned."""
        features = self.environment.get("features")
        return features.get("encoder_fingerprint") if isinstance(features, dict) else None

    def check_frozen(self, encoder_fingerprint: str | None, frozen_fingerprint: str) -> None:
        """Raises `RunError` when the encoder or the frozen weights differ from those in training."""
        environment = self.environment
        differing = []
        if self.encoder_fingerprint not in (None, encoder_fingerprint):
            differing.append("the encoder")
        if environment.get("frozen_fingerprint") not in (None, frozen_fingerprint):
            differing.append("a frozen part of the mapper or decoder")
        if differing:
            raise RunError(
                f"{' and '.join(differing)} differs from the one in training: a weights file was replaced, or another "
                "library version drew other random weights.",
                where=str(self.path),
                fix="Restore the file, or install the versions in environment.json.",
            )

    def report_changed_code(self, code: Mapping[str, str], tell: Callable[[str], None]) -> None:
        """Reports components whose code has changed since the run began: a notice, where other weights are an error."""
        recorded = self.environment.get("code")
        if not isinstance(recorded, dict):
            return
        if changed := changed_code(recorded, code):
            tell(
                f"the code of {', '.join(changed)} has changed since this run began; its earlier results are not "
                "computed again"
            )

    def check_same_data(self, data: Mapping[str, object]) -> None:
        """Raises `RunError` when the data changed since the run began."""
        before = self.environment.get("data")
        if before is not None and before != data:
            raise RunError(
                "the data set has changed since this run began (images, captions or splits).",
                where=str(self.path),
                fix="Choose another /run_dir for the changed data, or restore the old data.",
            )


def open_run(path: Path | str) -> RunDirectory:
    """The directory of a trained run. Raises `RequestError` where there is no run, or where it is not trained."""
    require_trained(Path(path))
    return RunDirectory(Path(path))


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a result."""
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def providers(spec: RunSpec, registry: Registry) -> dict[str, dict[str, str]]:
    """The plugin, distribution and version of each component of the spec ("encoder clip")."""
    found = {}
    for kind, component in spec.components:
        if plugin := registry.provider(kind, component.name):
            found[f"{kind} {component.name}"] = {
                "plugin": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
            }
    return found


def describe_data(splits: Mapping[str, Sequence[Sample]]) -> dict[str, object]:
    """Counts of each split, and a SHA-256 over its ids, captions and the names of its sources."""
    return {
        split: {
            "images": len(samples),
            "captions": sum(len(sample.references) for sample in samples),
            "sha256": _digest(samples),
        }
        for split, samples in splits.items()
    }


def _digest(samples: Sequence[Sample]) -> str:
    digest = hashlib.sha256()
    for sample in samples:
        source = PurePath(sample.source.name).name  # without the folder, which may move
        digest.update(json.dumps([sample.image_id, source, list(sample.references)]).encode())
    return digest.hexdigest()

"""`capfw run` and `capfw evaluate`: a run directory, its lock, its observers, and the stages of `job`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch
from accelerate import Accelerator, InitProcessGroupKwargs

from ..errors import RequestError, RunError, nearest
from ..protocols import RunEnded, RunStarted
from ..registry import Registry
from ..spec import RunSpec, load_spec
from .evaluate import Evaluation
from .job import Job
from .json_log import JsonLog
from .observers import Observers
from .run_directory import RunDirectory, open_run, providers

_WHERE_FEATURES_ARE = ("/features/store", "/features/num_workers")  # other values change no result
_RESULTS = ("candidates", "scores")
Stage: TypeAlias = Literal["extract", "train", "report"]


@dataclass(frozen=True)
class RunResult:
    """What a run left: the evaluation of the test split, or of val where there is no test split, and where it is."""

    run_dir: Path
    evaluation: Evaluation | None
    seconds: float


def run(
    spec: RunSpec, *, registry: Registry | None = None, observers: Sequence[object] = (), until: Stage = "report"
) -> RunResult:
    """Runs `spec` in its run directory, or finishes what an earlier call began there.

    `until` stops after a stage: "extract", "train" or "report" (all). `observers` are objects with run hooks.
    Raises `CapfwError` for everything a user can cause.
    """
    if until not in get_args(Stage):
        close = nearest(until, get_args(Stage))
        raise RequestError(
            f'no stage is called "{until}".',
            where="until",
            fix=f"Stages: {', '.join(get_args(Stage))}." + (f'  Did you mean "{close}"?' if close else ""),
        )
    started = time.perf_counter()
    registry = registry or Registry.discover()
    accelerator = _accelerator(spec)
    with _Main(RunDirectory(spec.run_dir), accelerator) as directory:
        is_resumed = accelerator.is_main_process and directory.claim(spec)
        if accelerator.is_main_process and "plugins" not in directory.environment:
            directory.record(plugins=providers(spec, registry))
        watchers = Observers(
            registry,
            [JsonLog(directory.path / "log.jsonl"), *observers],
            is_main=accelerator.is_main_process,
        )
        job = Job(spec, directory, accelerator, watchers)
        watchers.tell(RunStarted(spec.run_dir, spec.to_json(), is_resumed))
        job.check_data()
        evaluation = job.finished() if until == "report" else None
        if evaluation is None:
            evaluation = job.perform(until)
        seconds = time.perf_counter() - started
        watchers.tell(RunEnded(spec.run_dir, evaluation.scores if evaluation else {}, seconds))
    return RunResult(spec.run_dir, evaluation, seconds)


class _Main:
    """Holds the run directory's lock in the main process, for as long as all processes use it."""

    def __init__(self, directory: RunDirectory, accelerator: Accelerator) -> None:
        self.directory, self.accelerator = directory, accelerator

    def __enter__(self) -> RunDirectory:
        if self.accelerator.is_main_process:
            self.directory.__enter__()
        self.accelerator.wait_for_everyone()
        return self.directory

    def __exit__(self, *exc_info: object) -> None:
        if self.accelerator.is_main_process:
            self.directory.__exit__(*exc_info)


def _accelerator(spec: RunSpec) -> Accelerator:
    # The main process scores while the others wait; the default of ten minutes would end a long evaluation.
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=12))
    is_bf16 = spec.train.precision == "bf16" or (spec.train.precision == "auto" and torch.cuda.is_available())
    return Accelerator(mixed_precision="bf16" if is_bf16 else "no", kwargs_handlers=[patience])


def evaluate_run(
    run_dir: Path | str,
    split: str | None = None,
    *,
    overrides: Mapping[str, object] | None = None,
    output: Path | str | None = None,
    registry: Registry | None = None,
    observers: Sequence[object] = (),
) -> Evaluation:
    """Captions and scores a split with the best checkpoint of a trained run, and writes candidates and scores.

    `split` is the run's final one (test, else val) when None. `overrides` (JSON pointers) may change /generate, /metrics
    and /data; the results then go to `output`, another folder than the run's own, so that those of the run itself stay.
    They may also name another /features/store, or /features/num_workers, which change no result. Paths in overrides are
    relative to the working directory. Raises `CapfwError`.
    """
    directory = open_run(run_dir)
    run_dir = directory.path
    changed = [p for p in overrides or {} if not p.startswith(_WHERE_FEATURES_ARE)]
    refused = [p for p in changed if not p.startswith(("/generate", "/metrics", "/data"))]
    if refused:
        raise RequestError(
            f"{refused[0]} cannot change after training.",
            where="--set (overrides)",
            fix="Change /generate, /metrics, /data or /features/store.",
        )
    output = Path(output or run_dir)
    if changed and _shares_results(output, run_dir):
        raise RequestError(
            "changed options would overwrite the results of the run itself.",
            where="--set (overrides)",
            fix="Add --output FOLDER, another than the run's own (in Python: output=FOLDER).",
        )
    registry = registry or Registry.discover()
    # The paths of a resolved spec are absolute; those in overrides come from the command line. Files that training alone
    # needed may be gone; what is read here says itself what it lacks.
    spec = load_spec(
        run_dir / "spec.json", registry=registry, overrides=overrides, base_dir=Path.cwd(), check_files=False
    )
    accelerator = _accelerator(spec)
    with _Main(directory, accelerator):
        best = directory.best_checkpoint()
        _make_output(output)
        job = Job(spec, directory, accelerator, Observers(registry, observers, is_main=accelerator.is_main_process))
        split = split or job.final_split
        if split is None or split not in job.splits:
            raise RequestError(
                f"the data set has no split {split}.", where="--split", fix=f"It has {', '.join(job.splits)}."
            )
        job.splits = {split: job.splits[split]}
        directory.check_frozen(job.encoder.fingerprint(), job.model.frozen_fingerprint())
        job.extract_all(is_recorded=False)
        job.model.load_saved_state(directory.checkpoints.weights(best.step))
        evaluation = job.evaluate(split, best.step)
        if accelerator.is_main_process:
            evaluation.write(output)
    return evaluation


def _shares_results(folder: Path, other: Path) -> bool:
    """Whether candidates or scores written to both folders would be the same files, by whatever links."""
    return any((folder / name).resolve() == (other / name).resolve() for name in _RESULTS)


def _make_output(folder: Path) -> None:
    """Finds out before the work, and not after it, that its results could not be written."""
    try:
        for name in _RESULTS:
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise RunError(
            f"the folder of the results cannot be made: {err.strerror or err}.",
            where=str(folder),
            fix="Name another with --output (in Python: output=FOLDER).",
        ) from err

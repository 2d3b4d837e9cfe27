"""`capfw run` and `capfw evaluate`. A run uses these modules once each, in this order.

opening      opens the run directory and its lock, the accelerator and the observers
splits       reads and checks the data set
weights      finds the published weights of all parts, and fetches the missing ones
assembling   builds encoder and model, so that a mismatch shows before hours of work
extraction   makes the inputs of the model, stored features or live
context      makes the text of each image
training     trains, and evaluates the val split after epochs
evaluate     captions and scores the final split
report       writes report.html
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch

from ..errors import RequestError, suggestion
from ..protocols import Encoder, MetricConfig, Objective, RunEnded, RunStarted, Sample, narrowed, split_of
from ..registry import Registry
from ..spec import Overrides, RunSpec, load_spec, pairs_of
from .assembling import assemble, fetch_parts, fingerprints_of, loaded_best
from .build import build_loggers, build_metrics, build_objective
from .context import fit_context
from .evaluate import Evaluator, evaluate_best
from .evaluation import RESULT_FOLDERS, Evaluation, require_writable, scores_in_words
from .inputs.extraction import describe_inputs, extract
from .inputs.splits import check_splits, final_split, read_splits
from .model import CaptioningModel
from .observing.json_log import JsonLog
from .observing.loggers import logged
from .observing.notebook import html_table
from .observing.progress import shown
from .observing.report import write_report
from .opening import Run, opened
from .run_directory import RunDirectory, describe_data, open_run, providers, versions
from .task import Task
from .training import train
from .tuning import count_parameters

_FREE = ("/features/store", "/features/num_workers")  # these options change no result
_CHANGEABLE = ("/generate", "/metrics", "/data", "/seed")
Stage: TypeAlias = Literal["extract", "train", "report"]


@dataclass(frozen=True)
class RunResult:
    """The result of a run: its directory, and the evaluation of the test split, or of val where there is no test split.

    `finished_at` is set where the run was finished already and this call did nothing. `num_trained` and `num_parameters`
    count the parameters that the run trains, and all of them, the encoder's too.
    """

    run_dir: Path
    evaluation: Evaluation | None
    seconds: float
    finished_at: str | None = None
    num_trained: int | None = None
    num_parameters: int | None = None

    def __repr__(self) -> str:
        scores = (
            "" if self.evaluation is None else f"{self.evaluation.split}: {scores_in_words(self.evaluation.scores)}"
        )
        facts = [scores or "not evaluated", *(f"{name} {value}" for name, value in self._facts())]
        return f"RunResult({str(self.run_dir)!r}, {', '.join(facts)})"

    def _repr_html_(self) -> str:
        scores = () if self.evaluation is None else self.evaluation.scores.items()
        split = "not evaluated" if self.evaluation is None else self.evaluation.split
        return html_table(f"{self.run_dir}, {split}", [*scores, *self._facts()])

    def _facts(self) -> list[tuple[str, str]]:
        trained = f"{self.num_trained:,} of {self.num_parameters:,} parameters" if self.num_parameters else ""
        took = ("finished at", self.finished_at) if self.finished_at else ("took", f"{self.seconds:.1f} s")
        return [("trained", trained)] * bool(trained) + [took]


def run(
    spec: RunSpec,
    *,
    registry: Registry | None = None,
    observers: Sequence[object] = (),
    progress: bool | None = None,
    until: Stage = "report",
    device: str | torch.device | None = None,
) -> RunResult:
    """Runs `spec` in its run directory, or continues the run of an earlier call there.

    `until` names the last stage: "extract", "train" or "report" (all). `observers` are objects with run hooks. Progress is
    shown on a terminal and in a notebook, unless `observers` has a `ProgressDisplay`; `progress` True or False decides it.
    `device` is no part of the run: a later call may continue on another one. By default Accelerate chooses it.
    Raises `CapfwError` for every error that a user can cause.
    """
    if until not in get_args(Stage):
        fix = f"Stages: {', '.join(get_args(Stage))}.  {suggestion(until, get_args(Stage))}"
        raise RequestError(f'no stage is called "{until}".', where="until", fix=fix)
    started = time.perf_counter()
    registry = registry or Registry.discover()
    directory = RunDirectory(spec.run_dir)
    with (
        shown(observers, progress) as watching,
        opened(spec, registry, directory, lambda it: [JsonLog(it.path / "log.jsonl"), *watching], device=device) as run,
    ):
        is_resumed = _begin(run)
        splits = read_splits(run)
        check_splits(splits)
        _record_data(run, splits)
        finished = _finished(run, splits) if until == "report" else None
        if (evaluation := finished) is None:
            loggers = build_loggers(spec)
            with logged(spec, loggers, run.observers, directory.path, is_resumed=is_resumed):
                evaluation = _perform(run, splits, until)
        seconds = time.perf_counter() - started
        run.observers.tell(RunEnded(spec.run_dir, evaluation.scores if evaluation else {}, seconds))
        known = run.directory.environment
    counts = known.get("parameters")
    return RunResult(
        spec.run_dir,
        evaluation,
        seconds,
        str(known["finished_at"]) if finished else None,
        counts["trained"] if isinstance(counts, dict) else None,
        counts["total"] if isinstance(counts, dict) else None,
    )


def _perform(run: Run, splits: Mapping[str, Sequence[Sample]], until: Stage) -> Evaluation | None:
    """Runs the stages. Each one does only the work that earlier calls have not done."""
    fetch_parts(run, "train")
    metrics = build_metrics(run.spec.metrics)  # a missing program or weights file shows before hours of work
    objective = build_objective(run.spec, run.device)
    encoder, model = assemble(run, splits)
    fingerprints = fingerprints_of(encoder, model)
    run.directory.check_frozen(*fingerprints)
    inputs = extract(run, encoder, fingerprints[0], splits)
    run.record(features=describe_inputs(encoder, fingerprints[0], inputs), frozen_fingerprint=fingerprints[1])
    run.record(parameters=_parameters(encoder, model, objective))
    if until == "extract":
        return None
    texts = fit_context(run, model, inputs)
    if not run.directory.environment.get("is_trained"):
        train(run, Task(model, objective), metrics, inputs, texts)
    split = final_split(splits)
    if until == "train" or split is None:
        return None
    evaluation = evaluate_best(run, model, metrics, inputs, texts, split)
    if run.is_main:
        write_report(run.directory, run.spec, evaluation, splits)
    run.record(finished_at=datetime.now().astimezone().isoformat(timespec="seconds"))
    run.wait()
    return evaluation


def _parameters(encoder: Encoder, model: CaptioningModel, objective: Objective) -> dict[str, object]:
    parts = {"encoder": encoder, "mapper": model.as_mapper, "decoder": model.as_decoder, "objective": objective}
    return count_parameters(parts).to_json()


def _begin(run: Run) -> bool:
    """Claims the directory for the spec, records plugins and code, and reports the start. Returns whether it continues."""
    is_resumed = run.is_main and run.directory.claim(run.spec)
    if "plugins" not in run.directory.environment:
        run.record(plugins=providers(run.spec, run.registry), code=run.code)
    run.observers.tell(RunStarted(run.spec.run_dir, run.spec.to_json(), is_resumed))
    run.directory.report_changed_code(run.code, run.observers.warn)
    run.wait()  # the other processes read the records only when they are those of this spec
    return is_resumed


def _record_data(run: Run, splits: Mapping[str, Sequence[Sample]]) -> None:
    """Records the data. Raises `RunError` when it changed since the run began."""
    data = describe_data(splits)
    if not run.is_main:
        return
    run.directory.check_same_data(data)
    if "data" not in run.directory.environment:
        run.record(
            data=data,
            versions=versions(),
            device=str(run.device),
            device_name=torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else run.device.type,
            num_processes=run.accelerator.num_processes,
        )


def _finished(run: Run, splits: Mapping[str, Sequence[Sample]]) -> Evaluation | None:
    """The final evaluation of a finished run; None where work is left."""
    best, split, known = run.directory.checkpoints.best(), final_split(splits), run.directory.environment
    is_reported = (run.directory.path / "report.html").is_file() and known.get("finished_at") is not None
    if split is None or best is None or not is_reported or not known.get("is_trained"):
        return None
    evaluation = Evaluation.read(run.directory.path, split)
    if evaluation is None or evaluation.step != best.step:
        return None
    run.observers.inform(f"this run was finished at {known['finished_at']}; nothing was done")
    return evaluation


def evaluate_run(
    run_dir: Path | str,
    split: str | None = None,
    *,
    overrides: Overrides | None = None,
    output: Path | str | None = None,
    registry: Registry | None = None,
    observers: Sequence[object] = (),
    progress: bool | None = None,
    device: str | torch.device | None = None,
    allow_programs: bool = False,
) -> Evaluation:
    """Captions and scores a split with the best checkpoint of a trained run, and writes candidates and scores.

    `split` defaults to the final split (test, else val). `overrides` (JSON pointers) may change /generate, /metrics,
    /data and /seed; the results then go to `output`, so that those of the run itself remain. Overrides may also change
    /features/store and /features/num_workers, which change no result. Paths in overrides are relative to the working
    directory. `observers` and `progress` are those of `run`. `allow_programs` lets the metrics of the run's own spec run the
    programs that it names. Raises `CapfwError`.
    """
    directory = open_run(run_dir)
    changes = pairs_of(overrides)
    results = _output(directory.path, [place for place, _ in changes], output)
    registry = registry or Registry.discover()
    if any(place.startswith("/metrics") for place, _ in changes):
        # The best checkpoint is chosen already: other metrics need not have its score.
        changes.append(("/train/best_by", "loss"))
    # The paths of a resolved spec are absolute; paths in overrides come from the command line. Files that only training
    # needed may be gone, so they are not checked here: each component reports a missing file when it reads it.
    spec = load_spec(
        directory.path / "spec.json", registry=registry, overrides=changes, base_dir=Path.cwd(), check_files=False
    )
    if not allow_programs and not any(place == "/metrics" for place, _ in changes):
        _refuse_programs(spec, directory.path)
    # Another seed samples other captions. The parts are built with the run's own seed, which set their random weights.
    seed, spec = spec.seed, spec.model_copy(update={"seed": directory.seed})
    with (
        shown(observers, progress) as watching,
        opened(spec, registry, directory, lambda _: watching, device=device) as run,
    ):
        require_writable(results)
        run.directory.report_changed_code(run.code, run.observers.warn)
        splits = read_splits(run)
        split = _chosen(split, splits)
        fetch_parts(run, "evaluate")
        metrics = build_metrics(spec.metrics)
        encoder, model = assemble(run, splits)
        fingerprints = fingerprints_of(encoder, model)
        run.directory.check_frozen(*fingerprints)
        inputs = extract(run, encoder, fingerprints[0], {split: splits[split]})
        texts = fit_context(run, model, inputs)
        step = loaded_best(model, run.directory.checkpoints)
        training = _training_samples(run, splits)
        evaluator = Evaluator(run, model, metrics, inputs[split], texts.get(split), split, training=training, seed=seed)
        evaluation = evaluator.evaluate(step)
        if run.is_main:
            evaluation.write(results)
    return evaluation


def _training_samples(run: Run, splits: Mapping[str, Sequence[Sample]]) -> Sequence[Sample]:
    """The images that the run was trained on; none where its data set was changed, or it was trained elsewhere."""
    recorded, samples = run.directory.environment.get("data"), splits.get("train", ())
    is_known = isinstance(recorded, dict) and recorded.get("train") == describe_data({"train": samples})["train"]
    return samples if is_known else ()


def _refuse_programs(spec: RunSpec, run_dir: Path) -> None:
    """Raises `RequestError` where the spec of the run names a program: somebody else may have written it."""
    for index, part in enumerate(spec.metrics):
        if commands := narrowed(part.config, MetricConfig).programs():
            raise RequestError(
                f'metric "{part.name}" of this run runs a program on this machine: {"; ".join(commands)}',
                where=f"{run_dir / 'spec.json'}, /metrics/{index}",
                fix="If you trust it, add --allow-programs (in Python: allow_programs=True). Or choose other metrics: "
                '--set \'/metrics=[{"name": "cider"}]\' --output FOLDER.',
            )


def _chosen(split: str | None, splits: Mapping[str, object]) -> str:
    """The split of this usual name, by default the final one. Raises `RequestError` where the data set lacks it."""
    chosen = final_split(splits) if split is None else split if split in splits else split_of(split)
    if chosen is None or chosen not in splits:
        raise RequestError(
            f"the data set has no split {split}.", where="--split", fix=f"Choose one of {', '.join(splits)}."
        )
    return chosen


def _output(run_dir: Path, places: Sequence[str], output: Path | str | None) -> Path:
    """The folder of the results. Raises `RequestError` where they would overwrite the results of the run itself."""
    changed = [place for place in places if not place.startswith(_FREE)]
    refused = [place for place in changed if not place.startswith(_CHANGEABLE)]
    if refused:
        fix = f"Change {', '.join(_CHANGEABLE)} or {_FREE[0]}."
        raise RequestError(f"{refused[0]} cannot change after training.", where="--set (overrides)", fix=fix)
    results = Path(output or run_dir)
    if changed and any((results / name).resolve() == (run_dir / name).resolve() for name in RESULT_FOLDERS):
        raise RequestError(
            "changed options would overwrite the results of the run itself.",
            where="--set (overrides)",
            fix="Add --output FOLDER with another folder (in Python: output=FOLDER).",
        )
    return results

"""Collects the images and results of run directories."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import CapfwWarning, DataError, RequestError, RunError
from ..protocols import KINDS, ImageId, Sample
from ..registry import Registry
from ..spec import Overrides, RunSpec, load_spec, pairs_of
from ..spec.provenance import ENVIRONMENT
from ..spec.trained import BEST_FILE, SPEC_FILE, require_format
from .collection import Candidate, Collection, LeftOut, Progress, System, ViewedImage, distinct_names, require_few
from .curves import curves_of
from .history import History, read_history

_SPLITS = ("test", "val")  # in this order, the first with results is shown


def view_runs(
    run_dirs: Sequence[Path],
    split: str | None = None,
    *,
    overrides: Overrides | None = None,
    registry: Registry | None = None,
) -> Collection:
    """The images of a split, with the results of one to four runs.

    `split` defaults to test, or val where not every run has results of test. A run that has none yet is shown with its
    curves. `overrides` may change /data, such as the folder of the images. The data set is that of the first run with
    results. Raises `CapfwError`.
    """
    require_few(len(run_dirs), "runs")
    for run_dir in run_dirs:
        _require_run(run_dir)
    split = _chosen_split(run_dirs, split)
    version = results_version(run_dirs, split)  # before anything is read: a later change is then seen
    systems, notices = systems_of(run_dirs, split), _incomparable(run_dirs, split)
    images: Sequence[ViewedImage] = ()
    main_score = None
    if split is not None:
        leading = next(run_dir for run_dir, each in zip(run_dirs, systems, strict=True) if each.candidates)
        spec = load_spec(
            leading / SPEC_FILE,
            registry=registry,
            overrides=_data_only(overrides),
            base_dir=Path.cwd(),
            check_files=False,
        )
        images, unknown = _images(_samples(spec, split, leading), systems)
        notices += unknown
        main_score = spec.train.best_by
    title = " · ".join([*(each.name for each in systems), *([split] if split else [])])
    names = [name for each in systems for name in each.per_image]
    return Collection(
        title,
        split,
        images,
        systems,
        main_score if main_score in names else next(iter(names), None),
        notices,
        version,
    )


def systems_of(run_dirs: Sequence[Path], split: str | None) -> list[System]:
    """The results and the state of the runs, without the data set."""
    return [_system(run_dir, name, split) for run_dir, name in zip(run_dirs, distinct_names(run_dirs), strict=True)]


def results_version(run_dirs: Sequence[Path], split: str | None) -> str:
    """A text that changes when other results should be shown."""
    chosen = _chosen_split(run_dirs, None) if split is None else split
    files = [file for run_dir in run_dirs for file in _result_files(run_dir, chosen or "")]
    return " ".join([chosen or "-", *(str(file.stat().st_mtime_ns) if file.is_file() else "-" for file in files)])


def _require_run(run_dir: Path) -> None:
    if not (run_dir / SPEC_FILE).is_file():
        fix = "Name the folder that `capfw run` wrote, or show result files with --candidates FILE."
        raise RequestError(f"this is not a run directory: it has no {SPEC_FILE}.", where=str(run_dir), fix=fix)
    require_format(run_dir)


def _result_files(run_dir: Path, split: str) -> tuple[Path, Path]:
    return run_dir / "candidates" / f"{split}.json", run_dir / "scores" / f"{split}.json"


def _chosen_split(run_dirs: Sequence[Path], wanted: str | None) -> str | None:
    def count(split: str) -> int:
        return sum(all(file.is_file() for file in _result_files(run_dir, split)) for run_dir in run_dirs)

    if wanted is not None:
        if not count(wanted):
            fix = f"Caption and score it first: capfw evaluate {run_dirs[0]} --split {wanted}"
            raise RequestError(f"no run has results of split {wanted}.", where="--split", fix=fix)
        return wanted
    best = max(_SPLITS, key=count)  # the first of equals
    return best if count(best) else None


def _data_only(overrides: Overrides | None) -> Overrides:
    changes = pairs_of(overrides)
    if refused := [place for place, _ in changes if not (place == "/data" or place.startswith("/data/"))]:
        what = f"{refused[0]} does not change what is shown."
        raise RequestError(what, where="--set (overrides)", fix="Change /data, such as /data/images.")
    return changes


def _samples(spec: RunSpec, split: str, run_dir: Path) -> Sequence[Sample]:
    if spec.data is None:
        fix = 'Name the data set, as in --set /data=\'{"name": "coco", ...}\'.'
        raise DataError("this run has no data set, so there are no images to show.", where=f"{run_dir}, /data", fix=fix)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CapfwWarning)  # the run has them in its log already
        dataset = spec.data.build()
        if split not in dataset.splits:
            fix = f"Splits: {', '.join(dataset.splits)}."
            raise DataError(f"the data set has no split {split}.", where=f"{run_dir}, /data", fix=fix)
        samples: Sequence[Sample] = dataset.samples(split)
    return samples


def _images(samples: Sequence[Sample], systems: Sequence[System]) -> tuple[list[ViewedImage], list[str]]:
    """The images that a system captioned, in the order of the data set, and notices of what the data set lacks."""
    known = {sample.image_id: sample for sample in samples}
    notices = []
    for system in systems:
        alone = [image_id for image_id in system.candidates if image_id not in known]
        if system.candidates and len(alone) == len(system.candidates):
            raise DataError(
                "the data set has none of the images that this run captioned.",
                where=system.title,
                fix="Show runs over the same images, or name the data with --set /data/...",
            )
        if alone:
            notices.append(f"{system.name}: the data set lacks {len(alone)} captioned images; they are not shown.")
    captioned = {image_id for system in systems for image_id in system.candidates}
    return [
        ViewedImage(each.image_id, each.references, each.file_name or each.source.name, each.source)
        for each in samples
        if each.image_id in captioned
    ], notices


def _system(run_dir: Path, name: str, split: str | None) -> System:
    environment = _read(run_dir / ENVIRONMENT) if (run_dir / ENVIRONMENT).is_file() else {}
    spec, history = _read(run_dir / SPEC_FILE), read_history(run_dir / "log.jsonl")
    files = _result_files(run_dir, split or "")
    has_results = split is not None and all(file.is_file() for file in files)
    record: Mapping[str, Any] = _read(files[1]) if has_results else {}
    candidates = candidates_of(_read(files[0]), files[0]) if has_results else {}
    ids = {str(image_id): image_id for image_id in candidates}
    best_step = record.get("step") or (_read(run_dir / BEST_FILE)["step"] if (run_dir / BEST_FILE).is_file() else None)
    unreadable = [
        LeftOut(split_of, image_id, reason)
        for split_of, reasons in (environment.get("features") or {}).get("unreadable", {}).items()
        for image_id, reason in reasons.items()
    ]
    num_tokens = ((environment.get("features") or {}).get("shape") or [1])[0]
    is_live = environment.get("finished_at") is None and "imported" not in environment
    return System(
        name,
        str(run_dir),
        candidates,
        record.get("scores", {}),
        {
            score: {ids[i]: value for i, value in values.items() if i in ids}
            for score, values in record.get("per_image", {}).items()
        },
        _facts(record, environment),
        spec,
        {**environment, "features": {**(environment.get("features") or {}), "unreadable": None}},
        curves_of(history, best_step, _unit(spec)),
        _progress(history),
        history.warnings,
        unreadable,
        num_tokens > 1 and (run_dir / BEST_FILE).is_file(),
        history.position if is_live else "",
        is_live,
        record.get("lower_is_better", ()),
    )


def _progress(history: History) -> list[Progress]:
    return [
        Progress(
            image_id,
            next(iter(example.references), ""),
            [(epoch.number, epoch.captions[image_id]) for epoch in history.epochs if image_id in epoch.captions],
        )
        for image_id, example in history.examples.items()
    ]


def candidates_of(entries: Any, file: Path) -> dict[ImageId, Candidate]:
    """The candidates in the entries of a results file, with their log-probabilities and alternatives where it has them."""
    try:
        return {
            entry["image_id"]: Candidate(
                entry["caption"],
                entry.get("log_prob"),
                [(text, log_prob) for text, log_prob in entry.get("token_log_probs", ())],
                [(other["caption"], other.get("log_prob")) for other in entry.get("others", ())],
            )
            for entry in entries
        }
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise RunError(f"the candidates cannot be read: {err!r}", where=str(file)) from err


def _facts(record: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, str]:
    signature, parameters = record.get("signature", {}), environment.get("parameters")
    facts = {
        "images": f"{signature['num_images']:,}" if "num_images" in signature else None,
        "references": f"{signature['num_references']:,}" if "num_references" in signature else None,
        "generated by": signature.get("generate", {}).get("method"),
        "checkpoint": f"step {record['step']:,}" if "step" in record else None,
        "trained parameters": f"{parameters['trained']:,} of {parameters['total']:,}" if parameters else None,
        "finished": environment.get("finished_at"),
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def _unit(spec: Mapping[str, Any]) -> str:
    """The unit of the training loss. The log does not have it; that of the default objective is known."""
    default = KINDS["objective"].default
    named = spec.get("train", {}).get("objective", {}).get("name")
    return "nats per token" if default is not None and named == default["name"] else "nats per token or row"


def _incomparable(run_dirs: Sequence[Path], split: str | None) -> list[str]:
    """A notice for each fact of the signatures in which the runs differ, and without which scores are not comparable."""
    files = [_result_files(run_dir, split or "")[1] for run_dir in run_dirs]
    signatures = [_read(file).get("signature", {}) for file in files if file.is_file()]
    differing = [
        words
        for key, words in (("data", "images and references"), ("metrics", "metrics"))
        if len({json.dumps(each.get(key), sort_keys=True) for each in signatures}) > 1
    ]
    return [f"The scores of these runs are not comparable: their {words} differ." for words in differing]


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise RunError(f"it cannot be read: {err}", where=str(file), fix="Restore the file, or run again.") from err

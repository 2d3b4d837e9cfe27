"""Captions a split, scores the captions, and records the facts on which the scores depend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from accelerate.utils import broadcast_object_list, gather_object

from ..protocols import Captioned, Evaluated, ImageId, Metric, MetricConfig, Sample, narrowed
from ..scoring import MetricScores, apply_metrics
from .assembling import loaded_best
from .evaluation import Evaluation
from .examples import Variety, captioned_split, collapse_notice, spread
from .generate import ImageCaptions, autocast, caption_split
from .inputs.captions import Captions, TokenRows
from .inputs.reader import Inputs, Reader
from .model import CaptioningModel
from .opening import Run
from .run_directory import describe_data, versions


def evaluate_best(
    run: Run,
    model: CaptioningModel,
    metrics: Sequence[Metric],
    inputs: Mapping[str, Inputs],
    texts: Mapping[str, TokenRows],
    split: str,
) -> Evaluation:
    """Captions and scores the final split with the best checkpoint, and writes the results; once per checkpoint."""
    best = run.directory.checkpoints.best()
    assert best is not None, "training marks a checkpoint as best"
    written = Evaluation.read(run.directory.path, split)
    if written is not None and written.step == best.step:
        return written
    step = loaded_best(model, run.directory.checkpoints)
    training = inputs["train"].samples
    evaluator = Evaluator(run, model, metrics, inputs[split], texts.get(split), split, training=training)
    evaluation = evaluator.evaluate(step)
    evaluator.report(evaluation, evaluation.scores, is_best=True, is_final=True)
    if run.is_main:
        evaluation.write(run.directory.path)
    return evaluation


class Evaluator:
    """Captions and scores one split with the current weights of the model, at each call of `evaluate`."""

    def __init__(
        self,
        run: Run,
        model: CaptioningModel,
        metrics: Sequence[Metric],
        inputs: Inputs,
        texts: TokenRows | None,
        split: str,
        *,
        training: Sequence[Sample] = (),
        seed: int | None = None,
    ) -> None:
        """`training`: the images that the model was trained on. `seed` is that of sampled captions, by default the run's."""
        self.run, self.model, self.metrics, self.split = run, model, metrics, split
        self.seed = run.spec.seed if seed is None else seed
        self.reader = Reader(inputs, None, texts, seed=self.seed)
        self.training_captions = tuple(caption for sample in training for caption in sample.references) or None
        self._is_collapsed = False

    def evaluate(self, step: int) -> Evaluation:
        """The captions and scores, equal in every process; `step` is the step of the weights."""
        run, samples = self.run, self.reader.inputs.samples
        captions = caption_split(
            self.model,
            self.reader,
            run.spec.generate,
            precision=run.spec.train.precision,
            share=run.share,
            progress=run.progress(f"caption {self.split}", "images"),
        )
        gathered: dict[ImageId, ImageCaptions] = dict(gather_object(list(captions.items())))
        ordered = {sample.image_id: gathered[sample.image_id] for sample in samples}
        scores = self._score(ordered, samples)
        for warning in dict.fromkeys(scores.notices):
            run.observers.warn(f"{self.split}: {warning}")
        parts = run.spec.metrics
        evaluation = Evaluation(
            self.split,
            step,
            scores.corpus,
            scores.per_image,
            ordered,
            self._signature(samples, scores.signatures),
            scores.intervals,
            [(part.name, rows) for part, rows in zip(parts, scores.statistics, strict=True) if rows],
            [name for part in parts for name in narrowed(part.config, MetricConfig).lower_is_better()],
        )
        self._warn_of_collapse(Variety.of(evaluation, samples))
        return evaluation

    def report(
        self, evaluation: Evaluation, scores: Mapping[str, float], *, is_best: bool, is_final: bool = False
    ) -> None:
        """Reports an evaluation with `scores`, a few examples and, at the end of a run, all images."""
        run, samples = self.run, self.reader.inputs.samples
        results = captioned_split(evaluation, samples, run.spec, run_name=run.directory.path.name)
        run.observers.tell(
            Evaluated(
                self.split,
                evaluation.step,
                scores,
                is_best,
                examples=spread(results.images, run.spec.train.num_examples),
                distinct_share=Variety.of(evaluation, samples).distinct_share,
                results=results if is_final else None,
            )
        )

    def _warn_of_collapse(self, variety: Variety) -> None:
        """Warns when the captions of this split collapse, and again only after they have recovered."""
        if variety.is_collapsed and not self._is_collapsed:
            self.run.observers.warn(collapse_notice(self.split, variety, self.run.spec))
        self._is_collapsed = variety.is_collapsed

    def _score(self, captions: Mapping[ImageId, ImageCaptions], samples: Sequence[Sample]) -> MetricScores:
        """Scores every image once, in the main process, which sends the scores to the others."""
        shared: list[MetricScores | None] = [None]
        if self.run.is_main:
            shared[0] = apply_metrics(
                self.metrics,
                Captioned(
                    {image_id: each[0].text for image_id, each in captions.items()},
                    {sample.image_id: sample.references for sample in samples},
                    {sample.image_id: sample.source for sample in samples},
                    {image_id: tuple(one.text for one in each) for image_id, each in captions.items()}
                    if self.run.spec.generate.num_captions > 1
                    else None,
                    self.training_captions,
                ),
                around=lambda metric: on_device(metric, self.run.device),
                progress=self.run.progress(f"score {self.split}", "metrics"),
            )
        [scores] = broadcast_object_list(shared)
        assert isinstance(scores, MetricScores)
        return scores

    def _signature(self, samples: Sequence[Sample], metrics: Sequence[Mapping[str, object]]) -> dict[str, object]:
        return {
            "split": self.split,
            "num_images": len(samples),
            "num_references": sum(len(sample.references) for sample in samples),
            "num_unreadable": len(self.reader.inputs.unreadable),
            "data": describe_data({self.split: samples})[self.split],
            "generate": self.run.spec.generate.model_dump(mode="json"),
            "seed": self.seed,
            "encoder_fingerprint": self.run.directory.encoder_fingerprint,
            "metrics": metrics,
            "versions": versions(),
        }


@contextmanager
def on_device(metric: Metric, device: torch.device) -> Iterator[None]:
    """Moves a metric that is a torch module to the device, in eval mode and without gradients, and back to the CPU."""
    if not isinstance(metric, torch.nn.Module):
        yield
        return
    metric.requires_grad_(False).to(device).eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        metric.to("cpu")


@torch.no_grad()
def validation_loss(model: CaptioningModel, reader: Reader, batch_size: int, precision: str) -> float:
    """Mean cross-entropy per target token (nats) over every caption of the split, for any objective."""
    model.eval()
    total, count = 0.0, 0
    order = reader.captions.lengths.argsort(kind="stable")
    groups = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    for batch in reader.of_captions(groups, [""] * len(groups)):
        weights = batch.tokens.mask.float()
        with autocast(batch.inputs.device, precision):
            loss = model.weighted_nll(model.prefix(batch), batch.tokens, weights)
        total, count = total + float(loss), count + int(batch.tokens.mask.sum())
    return total / count


def tokenized_captions(run: Run, model: CaptioningModel, split: str, samples: Sequence[Sample]) -> Captions:
    """The captions of a split as tokens. Reports the number of captions that are truncated."""
    most = run.spec.train.max_caption_tokens
    captions = Captions(samples, model.as_decoder, most)
    if captions.num_truncated:
        run.observers.warn(
            f"{split}: {captions.num_truncated} of {len(captions)} captions are truncated to {most} tokens "
            "(/train/max_caption_tokens)"
        )
    return captions

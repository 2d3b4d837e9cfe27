"""Trains a run's model to the last step, and evaluates the val split after epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..protocols import EpochEnded, Metric
from .checkpoint import Best, Position
from .evaluate import Evaluator, tokenized_captions, validation_loss
from .inputs.captions import TokenRows
from .inputs.features import StoredFeatures
from .inputs.reader import Inputs, Reader
from .model import CaptioningModel
from .opening import Run
from .task import Task
from .trainer import Trainer


def train(
    run: Run,
    task: Task,
    metrics: Sequence[Metric],
    inputs: Mapping[str, Inputs],
    texts: Mapping[str, TokenRows],
) -> None:
    """Trains to the last step. `best.json` then names the checkpoint with the best weights."""
    run.directory.checkpoints.require_last()
    _standardize(run, task.model, inputs["train"])
    trainer = Trainer(
        task,
        _reader(run, task.model, inputs, texts, "train"),
        run.spec.train,
        seed=run.spec.seed,
        accelerator=run.accelerator,
        checkpoints=run.directory.checkpoints,
        observers=run.observers,
    )
    _describe(run, trainer)
    trainer.run(EpochEnd(run, trainer, metrics, inputs, texts))
    run.record(is_trained=True)


def _standardize(run: Run, model: CaptioningModel, inputs: Inputs) -> None:
    """Computes mean and deviation of the training features, unless the run in `/train/from` supplied them."""
    is_handed_over = bool(model.feature_mean.any())
    if run.spec.features.standardize and not is_handed_over and isinstance(inputs, StoredFeatures):
        mean, deviation = inputs.mean_and_deviation()
        model.feature_mean.copy_(mean)
        model.feature_deviation.copy_(deviation)


def _reader(
    run: Run, model: CaptioningModel, inputs: Mapping[str, Inputs], texts: Mapping[str, TokenRows], split: str
) -> Reader:
    captions = tokenized_captions(run, model, split, inputs[split].samples)
    return Reader(inputs[split], captions, texts.get(split), seed=run.spec.seed)


def _describe(run: Run, trainer: Trainer) -> None:
    task, captions = trainer.task, trainer.reader.captions
    count = sum(p.numel() for p in task.parameters() if p.requires_grad)
    total = sum(p.numel() for p in task.parameters())
    aside = "" if task.model.encoder is not None else " (without the encoder)"
    run.observers.inform(
        f"training {count:,} of {total:,} parameters{aside} on {len(captions):,} captions: "
        f"{trainer.num_steps:,} steps of {run.spec.train.batch_size}"
        + (f", from step {trainer.position.step:,}" if trainer.position.step else "")
    )


class EpochEnd:
    """The work at the end of an epoch: it evaluates the val split where that is due, and reports the epoch."""

    def __init__(
        self,
        run: Run,
        trainer: Trainer,
        metrics: Sequence[Metric],
        inputs: Mapping[str, Inputs],
        texts: Mapping[str, TokenRows],
    ) -> None:
        self.run, self.trainer, self.model = run, trainer, trainer.task.model
        self.evaluator = self.reader = None
        if "val" in inputs:
            training = inputs["train"].samples
            self.evaluator = Evaluator(
                run, self.model, metrics, inputs["val"], texts.get("val"), "val", training=training
            )
            self.reader = _reader(run, self.model, inputs, texts, "val")

    def __call__(self, position: Position, is_last: bool) -> None:
        """Evaluates and reports the epoch that ends at this position."""
        best = self.run.directory.checkpoints.best()
        if best is not None and best.evaluated_step >= position.step:
            return  # the epoch was evaluated and reported before the run was interrupted
        is_due = is_last or (position.epoch + 1) % self.run.spec.train.evaluate_every_epochs == 0
        if is_due and self.evaluator is not None:
            self._evaluate(self.evaluator, position, best)
        else:
            self._report(position, None)
            if is_due:
                self._mark(Best(position.step, None, position.step))

    def _evaluate(self, evaluator: Evaluator, position: Position, best: Best | None) -> None:
        train = self.run.spec.train
        assert self.reader is not None
        loss = validation_loss(self.model, self.reader, train.micro_batch_size or train.batch_size, train.precision)
        evaluation = evaluator.evaluate(position.step)
        score = {**evaluation.scores, "loss": loss}[train.best_by]
        is_best = best is None or self._is_better(score, best.score)
        evaluator.report(evaluation, {**evaluation.scores, "loss": loss}, is_best=is_best)
        if is_best and self.run.is_main:
            evaluation.write(self.run.directory.path)
        self._report(position, loss)
        self._mark(
            Best(position.step, score, position.step)
            if is_best or best is None
            else Best(best.step, best.score, position.step)
        )

    def _is_better(self, score: float, best: float | None) -> bool:
        """Whether `score` of `best_by` is better than `best`, in the direction that its metric declares."""
        if best is None or math.isnan(best):
            return True  # a score that is no number never stands in the way of one that is
        return score < best if self.run.spec.is_lower_better else score > best

    def _report(self, position: Position, val_loss: float | None) -> None:
        train_loss = position.loss_sum / max(1, position.num_tokens)
        self.run.observers.tell(EpochEnded(position.epoch + 1, self.trainer.num_epochs, train_loss, val_loss))

    def _mark(self, best: Best) -> None:
        if self.run.is_main:
            self.run.directory.checkpoints.mark_best(best)
        self.run.wait()

"""The stages of a run. Each looks at what the run directory holds and does only what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from ..errors import DataError
from ..protocols import Encoder, Evaluated, ImageId, Progress
from ..spec import RunSpec
from .batches import Captions
from .build import build_dataset, build_encoder, build_metrics, build_model, prepare_assets, splits_of
from .checkpoint import Best, Position
from .evaluate import Evaluation, score, validation_loss
from .extraction import Extraction, extract
from .features import FeatureStore, SplitFeatures
from .generate import Caption, caption_split
from .model import CaptioningModel
from .observers import Observers
from .report import write_report
from .run_directory import RunDirectory, describe_data, versions
from .splits import check_splits
from .train import Trainer


class Job:
    """One run's stages over its directory. Parts are built when first needed."""

    def __init__(self, spec: RunSpec, directory: RunDirectory, accelerator: Accelerator, observers: Observers) -> None:
        self.spec, self.directory, self.accelerator, self.observers = spec, directory, accelerator, observers
        self.metrics = build_metrics(spec.metrics)
        dataset, warnings = build_dataset(spec)
        self.splits = splits_of(dataset)
        for warning in warnings:
            observers.warn(warning)
        self.share = (accelerator.process_index, accelerator.num_processes)
        self.extractions: dict[str, Extraction] = {}

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, on the device."""
        encoder = build_encoder(self.spec)
        if isinstance(encoder, torch.nn.Module):
            encoder.to(self.accelerator.device)
        return encoder

    @cached_property
    def store(self) -> FeatureStore:
        """The feature store of this encoder."""
        return FeatureStore.open(self.spec.features, self.spec.encoder, self.encoder)

    @cached_property
    def model(self) -> CaptioningModel:
        """Mapper and decoder as they begin, on the device."""
        if self.accelerator.is_main_process and not (self.directory.assets / "prepared").is_file():
            prepare_assets(self.spec, self.splits["train"], self.directory.assets)
            (self.directory.assets / "prepared").touch()
        self.accelerator.wait_for_everyone()
        checkpoints = self.directory.checkpoints
        has_checkpoint = checkpoints.last() is not None or checkpoints.best() is not None
        model = build_model(self.spec, self.encoder.feature_shape, self.directory.assets, is_restored=has_checkpoint)
        return model.to(self.accelerator.device)

    @property
    def final_split(self) -> str | None:
        """The split whose scores are the run's: test, or val where there is no test split."""
        return next((split for split in ("test", "val") if split in self.splits), None)

    def check_data(self) -> None:
        """Refuses empty or overlapping splits, and data that changed since the run began; records what the run is."""
        check_splits(self.splits)
        data = describe_data(self.splits)
        if self.accelerator.is_main_process:
            self.directory.check_same_data(data)
            if "data" not in self.directory.environment:
                self.directory.record(
                    data=data,
                    versions=versions(),
                    device=str(self.accelerator.device),
                    device_name=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
                    num_processes=self.accelerator.num_processes,
                )

    def finished(self) -> Evaluation | None:
        """The final evaluation when nothing is left to do."""
        checkpoints, split = self.directory.checkpoints, self.final_split
        best = checkpoints.best()
        is_reported = (self.directory.path / "report.html").is_file()
        if split is None or best is None or not is_reported or not self.directory.environment.get("is_trained"):
            return None
        evaluation = Evaluation.read(self.directory.path, split)
        return evaluation if evaluation is not None and evaluation.step == best.step else None

    def perform(self, until: str) -> Evaluation | None:
        """The stages up to and with `until`."""
        _ = self.model  # a mismatch of parts must show before hours of extraction
        self.extract_all()
        if until == "extract":
            return None
        self.train()
        if until == "train" or self.final_split is None:
            return None
        evaluation = self.final_evaluation()
        if self.accelerator.is_main_process:
            write_report(self.directory, self.spec, evaluation, self.features(evaluation.split).samples)
        self.accelerator.wait_for_everyone()
        return evaluation

    def extract_all(self, *, is_recorded: bool = True) -> None:
        """Fills the feature store and reports images that cannot be read; `is_recorded` in environment.json too."""
        for split, samples in self.splits.items():
            extraction = extract(
                self.store,
                self.encoder,
                samples,
                self.spec.features,
                self.accelerator.device,
                progress=self._progress(f"extract {split}", "images"),
                share=self.share,
                barrier=self.accelerator.wait_for_everyone,
            )
            self.extractions[split] = extraction
            self.observers.inform(
                f"{split}: features of {len(extraction.features)} images, {extraction.num_encoded} of them new"
            )
            for image_id, reason in extraction.unreadable.items():
                self.observers.warn(f"{split}: image {image_id} is skipped: {reason}")
            if not len(extraction.features):
                raise DataError(
                    f"no image of split {split} can be read.", where="/data", fix="Look at the log for why."
                )
        unreadable = {split: dict(each.unreadable) for split, each in self.extractions.items() if each.unreadable}
        if is_recorded and self.accelerator.is_main_process:
            self.directory.record(
                features={
                    "store": self.store.folder,
                    "encoder_fingerprint": self.encoder.fingerprint(),
                    "shape": [self.store.shape.num_tokens, self.store.shape.dim],
                    "num_unreadable": sum(map(len, unreadable.values())),
                    "unreadable": unreadable,
                },
                frozen_fingerprint=self.model.frozen_fingerprint(),
            )

    def features(self, split: str) -> SplitFeatures:
        """The features of a split."""
        return self.extractions[split].features

    def captions(self, split: str) -> Captions:
        """The tokenised captions of a split's readable images."""
        captions = Captions(self.features(split).samples, self.model.as_decoder, self.spec.train.max_caption_tokens)
        if captions.num_truncated:
            self.observers.warn(
                f"{split}: {captions.num_truncated} of {len(captions)} captions are cut to "
                f"{self.spec.train.max_caption_tokens} tokens (/train/max_caption_tokens)"
            )
        return captions

    def train(self) -> None:
        """Trains to the end, evaluating the val split along the way, and leaves the best weights in the model."""
        if self.spec.features.standardize:
            mean, deviation = self.features("train").mean_and_deviation()
            self.model.feature_mean.copy_(mean)
            self.model.feature_deviation.copy_(deviation)
        trainer = Trainer(
            self.model,
            self.captions("train"),
            self.features("train"),
            self.spec.train,
            seed=self.spec.seed,
            accelerator=self.accelerator,
            checkpoints=self.directory.checkpoints,
            observers=self.observers,
        )
        self._describe_training(trainer)
        val_captions = self.captions("val") if "val" in self.splits else None
        trainer.run(lambda position, is_last: self._at_epoch_end(position, is_last, val_captions))
        if self.accelerator.is_main_process:
            self.directory.record(is_trained=True)

    def _describe_training(self, trainer: Trainer) -> None:
        count = sum(parameter.numel() for _, parameter in self.model.trainable())
        total = sum(parameter.numel() for parameter in self.model.parameters())
        self.observers.inform(
            f"training {count:,} of {total:,} parameters (encoder aside) on {len(trainer.captions):,} captions: "
            f"{trainer.num_steps:,} steps of {self.spec.train.batch_size}"
            + (f", from step {trainer.position.step:,}" if trainer.position.step else "")
        )

    def _at_epoch_end(self, position: Position, is_last: bool, val_captions: Captions | None) -> float | None:
        """Evaluates the weights of this step on val, unless that was done before the run was interrupted."""
        checkpoints, train = self.directory.checkpoints, self.spec.train
        best = checkpoints.best()
        is_due = is_last or (position.epoch + 1) % train.evaluate_every_epochs == 0
        if not is_due or (best is not None and best.evaluated_step >= position.step):
            return None
        if val_captions is None:
            self._mark(Best(position.step, None, position.step))
            return None
        at_once = train.micro_batch_size or train.batch_size
        loss = validation_loss(self.model, self.features("val"), val_captions, at_once, train.precision)
        evaluation = self.evaluate("val", position.step)
        # A lower loss is better; of everything else, more is.
        value = -loss if train.best_by == "loss" else evaluation.scores[train.best_by]
        # A score that is no number is never better, and never stands in the way of one that is.
        is_best = best is None or best.score is None or math.isnan(best.score) or value > best.score
        self.observers.tell(Evaluated("val", position.step, {**evaluation.scores, "loss": loss}, is_best))
        if is_best and self.accelerator.is_main_process:
            evaluation.write(self.directory.path)
        if is_best or best is None:
            self._mark(Best(position.step, value, position.step))
        else:
            self._mark(Best(best.step, best.score, position.step))
        self._warn_of_collapse(evaluation)
        return loss

    def _mark(self, best: Best) -> None:
        if self.accelerator.is_main_process:
            self.directory.checkpoints.mark_best(best)
        self.accelerator.wait_for_everyone()

    def _warn_of_collapse(self, evaluation: Evaluation) -> None:
        texts = [captions[0].text for captions in evaluation.captions.values()]
        distinct = len(set(texts))
        if len(texts) >= 20 and distinct <= len(texts) // 20:
            self.observers.warn(
                f"{evaluation.split}: only {distinct} different captions for {len(texts)} images, the commonest "
                f'"{max(set(texts), key=texts.count)}": the model ignores the image so far'
            )

    def evaluate(self, split: str, step: int) -> Evaluation:
        """Captions a split with the model as it is and scores it, in every process."""
        captions = caption_split(
            self.model,
            self.features(split),
            self.spec.generate,
            seed=self.spec.seed,
            precision=self.spec.train.precision,
            share=self.share,
            progress=self._progress(f"caption {split}", "images"),
        )
        samples = self.features(split).samples
        gathered: dict[ImageId, tuple[Caption, ...]] = dict(gather_object(list(captions.items())))
        ordered = {sample.image_id: gathered[sample.image_id] for sample in samples}
        corpus, per_image, warnings = score(self.metrics, ordered, samples)
        for warning in dict.fromkeys(warnings):
            self.observers.warn(f"{split}: {warning}")
        return Evaluation(split, step, corpus, per_image, ordered, self._signature(split))

    def _signature(self, split: str) -> dict[str, object]:
        samples = self.features(split).samples
        return {
            "split": split,
            "num_images": len(samples),
            "num_references": sum(len(sample.references) for sample in samples),
            "num_unreadable": len(self.extractions[split].unreadable),
            "data": describe_data({split: samples})[split],
            "generate": self.spec.generate.model_dump(mode="json"),
            "encoder_fingerprint": self.encoder.fingerprint(),
            "metrics": [dict(metric.signature()) for metric in self.metrics],
            "versions": versions(),
        }

    def final_evaluation(self) -> Evaluation:
        """Captions and scores the final split with the best checkpoint, unless that is done."""
        split, best = self.final_split, self.directory.checkpoints.best()
        assert split is not None
        assert best is not None, "training marks a checkpoint as best"
        evaluation = Evaluation.read(self.directory.path, split)
        if evaluation is not None and evaluation.step == best.step:
            return evaluation
        self.model.load_saved_state(self.directory.checkpoints.weights(best.step))
        evaluation = self.evaluate(split, best.step)
        self.observers.tell(Evaluated(split, best.step, evaluation.scores, is_best=True))
        if self.accelerator.is_main_process:
            evaluation.write(self.directory.path)
        return evaluation

    def _progress(self, stage: str, unit: str) -> Callable[[int, int], None]:
        return lambda done, total: self.observers.tell(Progress(stage, done, total, unit))

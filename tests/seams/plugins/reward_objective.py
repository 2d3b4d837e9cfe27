"""Objective "group-reward": sampled captions are rewarded by a metric, against the mean of the image's other samples."""

import torch
from pydantic import Field, JsonValue
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from capfw.core.protocols import (
    Batch,
    Captioned,
    CaptionModel,
    Component,
    Loss,
    Metric,
    NucleusOptions,
    ObjectiveConfig,
    Prefix,
    TokenBatch,
    hookimpl,
)


class GroupRewardConfig(ObjectiveConfig):
    """Options of the objective."""

    num_samples: int = Field(4, ge=2, description="Captions sampled per image (k).")
    max_tokens: int = Field(16, ge=1, description="Longest sampled caption, in tokens.")
    metric: dict[str, JsonValue] = Field({"name": "rouge-l"}, description="Metric whose per-image value is the reward.")

    def metrics(self) -> tuple[dict[str, JsonValue], ...]:
        """The reward."""
        return (self.metric,)


class GroupReward(nn.Module):
    """REINFORCE with the mean reward of the other samples as baseline (Kool et al., 2019; k samples per image)."""

    rows, is_row_wise = "images", True

    def __init__(self, config: GroupRewardConfig, *, metrics: tuple[Metric, ...]) -> None:
        super().__init__()
        self.config, self.metrics = config, metrics

    def forward(self, model: CaptionModel, prefix: Prefix, batch: Batch) -> dict[str, Loss]:
        count = self.config.num_samples
        options = NucleusOptions(top_p=1.0, num_captions=count, max_tokens=self.config.max_tokens)
        made = model.generate(prefix, options, batch.seeds)
        rewards = self._rewards(model.detokenize(made.ids), batch).to(prefix.vectors.device).view(-1, count)  # (B, k)
        advantages = (rewards - rewards.mean(1, keepdim=True)) * count / (count - 1)  # against the mean of the others
        mask = pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in made.ids], batch_first=True)
        ids = pad_sequence([torch.tensor(row) for row in made.ids], batch_first=True)  # (B * k, T)
        tokens = TokenBatch(ids.to(prefix.vectors.device), mask.to(prefix.vectors.device))
        weights = advantages.flatten()[:, None] * tokens.mask
        return {
            "policy": Loss(model.weighted_nll(prefix.repeat(count), tokens, weights) / count, per="row"),
            "reward": Loss(rewards.mean(1).sum(), per="row", weight=0.0),
        }

    def _rewards(self, texts: list[str], batch: Batch) -> Tensor:
        references = [sample.references for sample in batch.samples for _ in range(self.config.num_samples)]
        scores = self.metrics[0].score(Captioned(dict(enumerate(texts)), dict(enumerate(references))))
        [values] = scores.per_image.values()
        return torch.tensor([values[place] for place in range(len(texts))])


@hookimpl
def register_objectives() -> list[Component]:
    target, summary = f"{__name__}:GroupReward", "Rewards sampled captions."
    return [Component("group-reward", GroupRewardConfig, target, summary, example=GroupRewardConfig())]

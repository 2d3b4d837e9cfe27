"""The decoder: teacher forcing and generation after a prefix of vectors and text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from ....core.protocols import (
    AverageBeamOptions,
    ComponentError,
    Generated,
    GenerateOptions,
    IncompatibleComponents,
    Prefix,
    PublishedWeights,
    TokenBatch,
    pack_rows,
)
from . import LanguageModelConfig
from .architecture import can_leave_out_padding, require_causal
from .generation import continue_images, rows_of_equal_length
from .loading import add_adapters, build_model, kept_tokenizer, load_architecture, load_tokenizer, published_weights
from .logits import head_reads, make_selective, wide
from .search import Continued, Limits
from .steps import Context
from .vocabulary import join_words, learn_vocabulary


class LanguageModel(nn.Module):
    """A causal language model of transformers that continues vectors (B, P, E) and text.

    The task prompt is a sequence of trainable vectors right before the caption, initialised with the embeddings of its
    tokens. With LoRA only the adapters and the task prompt are trainable.

    Raises `ComponentError` when the options do not fit the model; see `loading`.
    """

    def __init__(self, config: LanguageModelConfig, *, assets: Path, is_restored: bool = False) -> None:
        super().__init__()
        self.config = config
        self.tokenizer: PreTrainedTokenizerFast = kept_tokenizer(assets)
        self.model = build_model(config, assets, is_restored=is_restored)
        self.stop_id = self._stop_id()
        if config.model_type() is None:
            require_causal(self.model)
        if config.lora is not None:
            self.model.requires_grad_(False)
            add_adapters(self.model, config.lora)
        make_selective(self.model)
        self.task_prompt: nn.Parameter | None = None
        if config.task_prompt is not None:
            ids = self._encode([config.task_prompt])[0]
            if not ids:
                raise ComponentError(
                    "the task prompt has no tokens.", option="task_prompt", fix="Write words, or leave it out."
                )
            self.task_prompt = nn.Parameter(self._embed(torch.tensor(ids)).detach().clone())  # (prompt tokens, E)
        self.train()  # transformers returns models in eval mode

    @classmethod
    def published_weights(cls, config: LanguageModelConfig) -> Sequence[PublishedWeights]:
        return published_weights(config)

    @classmethod
    def prepare(cls, config: LanguageModelConfig, *, captions: Iterable[str], assets: Path) -> None:
        """Saves tokenizer.json and the architecture (config.json) in `assets`; learns a "from-captions" vocabulary."""
        if config.tokenizer == "from-captions":
            tokenizer = learn_vocabulary(captions, config)
        else:
            tokenizer = load_tokenizer(config)
        load_architecture(config, tokenizer).save_pretrained(assets)
        tokenizer.save_pretrained(assets)

    @classmethod
    def restore(cls, config: LanguageModelConfig, *, assets: Path) -> Self:
        """Builds a decoder for the weights of a checkpoint; reads published weights only under adapters."""
        return cls(config, assets=assets, is_restored=True)

    @staticmethod
    def foreign_names(names: Iterable[str]) -> dict[str, str | None]:
        """Maps the names of GPT-2's entries in a checkpoint of ClipCap or gpt2-image-captioning to those here.

        Maps to None the entries to leave out: the causal masks that transformers once stored, and the output layer, whose
        weights are the token table's.
        """
        renamed: dict[str, str | None] = {}
        for name in names:
            if name == "task_prefix_embeds":
                renamed[name] = "task_prompt"
            elif name.startswith("gpt."):
                is_left_out = name.endswith((".attn.bias", ".attn.masked_bias")) or name == "gpt.lm_head.weight"
                renamed[name] = None if is_left_out else f"model.{name.removeprefix('gpt.')}"
        return renamed

    @property
    def embed_dim(self) -> int:
        """E."""
        return int(self.model.get_input_embeddings().weight.shape[1])

    @property
    def max_positions(self) -> int | None:
        """Positions for prefix vectors, text and caption, without those of the task prompt."""
        limit = self._num_positions
        return None if limit is None else limit - (0 if self.task_prompt is None else len(self.task_prompt))

    @property
    def _num_positions(self) -> int | None:
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return None if limit is None else int(limit)

    def tokenize(self, texts: Sequence[str], *, end: bool = True) -> list[list[int]]:
        eos = [self.stop_id] if end and self.config.stop_token is None else []
        return [ids + eos for ids in self._encode(texts)]

    def detokenize(self, ids: Sequence[Sequence[int]]) -> list[str]:
        if self.config.tokenizer == "from-captions":
            return [join_words(self.tokenizer.convert_ids_to_tokens(row, skip_special_tokens=True)) for row in ids]
        texts = self.tokenizer.batch_decode(
            [list(row) for row in ids], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [text.strip() for text in texts]

    def log_probs(self, prefix: Prefix, tokens: TokenBatch) -> Tensor:
        chosen = -self._target_nll(prefix, tokens)
        return chosen.new_zeros(tokens.mask.shape).masked_scatter(tokens.mask, chosen)  # (B, T)

    def weighted_nll(self, prefix: Prefix, tokens: TokenBatch, weights: Tensor) -> Tensor:
        return (weights[tokens.mask] * self._target_nll(prefix, tokens)).sum()

    def _target_nll(self, prefix: Prefix, tokens: TokenBatch) -> Tensor:
        """Returns the negative log-probability of each token under the mask (targets,), row by row."""
        return functional.cross_entropy(self.target_logits(prefix, tokens), tokens.ids[tokens.mask], reduction="none")

    def target_logits(self, prefix: Prefix, tokens: TokenBatch) -> Tensor:
        """Returns the logits (targets, V) of the tokens under the mask, row by row, float32 or wider."""
        before, is_before = self._before_caption(prefix)
        ids = tokens.ids.masked_fill(~tokens.mask, 0)  # padding may hold numbers that are no ids
        # The last column is a target only. Padding needs no attention mask: it is to the right of every target, and
        # attention is causal.
        inputs = torch.cat([before, self._embed(ids[:, :-1])], dim=1)  # (B, before + T - 1, E)
        if is_before is None:
            first = before.shape[1] - 1  # the position that predicts the first token
            with head_reads(lambda hidden: hidden[:, first:][tokens.mask]):  # (targets, E)
                return wide(self.model(inputs_embeds=inputs, use_cache=False).logits)
        inputs, is_read = pack_rows(inputs, torch.cat([is_before, tokens.mask[:, 1:]], dim=1), padding="right")
        self._require_positions(is_read.shape[1], fix="Shorten the texts.")
        rows, columns = tokens.mask.nonzero(as_tuple=True)  # of each target
        columns = columns + is_before.sum(1)[rows] - 1
        with head_reads(lambda hidden: hidden[rows, columns]):  # (targets, E)
            return wide(self.model(inputs_embeds=inputs, use_cache=False).logits)

    @torch.no_grad()
    def generate(self, prefix: Prefix, options: GenerateOptions, seeds: Tensor) -> Generated:
        continued = self._continue(prefix, options, seeds)
        log_probs = torch.tensor([each.log_prob for each in continued], dtype=torch.float32)
        return Generated([each.ids for each in continued], log_probs.to(prefix.vectors.device))

    def _continue(self, prefix: Prefix, options: GenerateOptions, seeds: Tensor) -> list[Continued]:
        inputs, mask = self._before_caption(prefix)
        if mask is not None:
            inputs, mask = pack_rows(inputs, mask, padding="left")
        self._check_limits(inputs.shape[1], options)
        is_learned = self.config.tokenizer == "from-captions"
        unknown = self.tokenizer.unk_token_id
        limits = Limits(self.stop_id, options.max_tokens, suppressed=(unknown,) if is_learned else ())
        if mask is None or bool(mask.all()):
            return continue_images(self.model, Context(inputs), options, seeds, limits)
        if can_leave_out_padding(self.model):
            return continue_images(self.model, Context(inputs, mask), options, seeds, limits)
        captions: dict[int, list[Continued]] = {}
        for rows, length in rows_of_equal_length(mask):
            context = Context(inputs[rows, inputs.shape[1] - length :])
            made = continue_images(self.model, context, options, seeds[rows.to(seeds.device)], limits)
            for place, row in enumerate(rows.tolist()):
                captions[row] = made[place * options.num_captions : (place + 1) * options.num_captions]
        return [each for row in range(len(inputs)) for each in captions[row]]

    def _check_limits(self, num_given: int, options: GenerateOptions) -> None:
        limit = self._num_positions
        most = None if limit is None else limit + 1 - num_given  # the last token is never an input
        fix = f"Lower /generate/max_tokens to {most}." if most is None or most > 0 else "Shorten the texts."
        self._require_positions(num_given + options.max_tokens - 1, fix=fix)
        vocabulary = self.model.get_input_embeddings().weight.shape[0]
        if isinstance(options, AverageBeamOptions) and options.num_beams > vocabulary:
            raise IncompatibleComponents(
                f"{options.num_beams} beams need as many first tokens, but the vocabulary has {vocabulary}.",
                fix="Lower /generate/num_beams.",
            )

    def _require_positions(self, num_needed: int, *, fix: str) -> None:
        limit = self._num_positions
        if limit is not None and num_needed > limit:
            raise IncompatibleComponents(
                f"prefix vectors, text and caption need {num_needed} positions; the model has {limit}.", fix=fix
            )

    def _before_caption(self, prefix: Prefix) -> tuple[Tensor, Tensor | None]:
        """Returns the inputs before the caption (B, before, E) and their mask (B, before); None: no padding.

        The inputs have the dtype of the token table: autocast may have narrowed the prefix.
        """
        vectors = prefix.vectors.to(self.model.get_input_embeddings().weight.dtype)
        parts = [vectors]
        if prefix.text is not None:
            parts.append(self._embed(prefix.text.ids.masked_fill(~prefix.text.mask, 0)))
        if self.task_prompt is not None:
            parts.append(self.task_prompt.expand(len(vectors), -1, -1))
        before = torch.cat(parts, dim=1)
        if prefix.text is None:
            return before, None
        mask = torch.ones(before.shape[:2], dtype=torch.bool, device=before.device)
        mask[:, vectors.shape[1] : vectors.shape[1] + prefix.text.mask.shape[1]] = prefix.text.mask
        return before, mask

    def _embed(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.model.get_input_embeddings()(ids)
        return embedded

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"] if texts else []
        return ids

    def _stop_id(self) -> int:
        stop = self.config.stop_token
        if stop is None:
            return int(self.tokenizer.eos_token_id)
        ids = self._encode([stop])[0]
        if len(ids) != 1 or ids[0] == self.tokenizer.unk_token_id:
            raise ComponentError(
                f'"{stop}" is not one token of this tokenizer.', option="stop_token", fix='Use "." or leave it out.'
            )
        return ids[0]

"""The decoder: teacher forcing and generation from a prefix of embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ....core.protocols import (
    AverageBeamOptions,
    BeamOptions,
    ComponentError,
    Generated,
    GenerateOptions,
    GreedyOptions,
    IncompatibleComponents,
    NucleusOptions,
    TokenBatch,
)
from . import LanguageModelConfig
from .loading import add_adapters, build_model, kept_tokenizer, load_architecture, load_tokenizer
from .logits import head_reads, wide
from .search import (
    Continued,
    Limits,
    Steps,
    average_beam_search,
    beam_search,
    continue_rows,
    nucleus_probabilities,
)
from .vocabulary import join_words, learn_vocabulary


class LanguageModel(nn.Module):
    """A causal language model of transformers that continues a prefix (B, P, E).

    A task prompt is a run of trained vectors, at first its tokens' embeddings, between image prefix and caption. A
    frozen model stays in eval mode whatever `train` says, and gradients reach the prefix through it.

    Raises `ComponentError` when the options do not fit the model, see `loading`.
    """

    def __init__(self, config: LanguageModelConfig, *, assets: Path, is_restored: bool = False) -> None:
        super().__init__()
        self.config = config
        self.tokenizer: PreTrainedTokenizerFast = kept_tokenizer(assets)
        self.model = build_model(config, assets, is_restored=is_restored)
        self.stop_id = self._stop_id()
        if config.model_type() is None:
            _require_causal(self.model)
        if config.tuning != "full":
            self.model.requires_grad_(False)
        if config.lora is not None:
            add_adapters(self.model, config.lora)
        self.task_prompt: nn.Parameter | None = None
        if config.task_prompt is not None:
            ids = self._encode([config.task_prompt])[0]
            if not ids:
                raise ComponentError(
                    "the task prompt has no token.", option="task_prompt", fix="Write words, or leave it out."
                )
            self.task_prompt = nn.Parameter(self._embed(torch.tensor(ids)).detach().clone())  # (prompt tokens, E)
        self.train()

    @classmethod
    def prepare(cls, config: LanguageModelConfig, *, captions: Iterable[str], assets: Path) -> None:
        """Keeps tokenizer.json and the architecture (config.json) with the run; learns the vocabulary if asked to."""
        if config.tokenizer == "from-captions":
            tokenizer = learn_vocabulary(captions, config)
        else:
            tokenizer = load_tokenizer(config)
        load_architecture(config, tokenizer).save_pretrained(assets)
        tokenizer.save_pretrained(assets)

    @classmethod
    def restore(cls, config: LanguageModelConfig, *, assets: Path) -> Self:
        """Built to receive a checkpoint: of a model that was trained whole, no published weight is read."""
        return cls(config, assets=assets, is_restored=True)

    @staticmethod
    def foreign_names(names: Iterable[str]) -> dict[str, str | None]:
        """Names of GPT-2's entries in a checkpoint of ClipCap or of its successors, and what they are called here.

        None: known, and to be left out. Those are the causal masks that transformers once stored, and the output layer,
        which is the token table.
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
        """Positions for image prefix and caption; those of the task prompt are taken off."""
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return None if limit is None else int(limit) - (0 if self.task_prompt is None else len(self.task_prompt))

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.config.tuning == "frozen":
            self.model.eval()
        return self

    def tokenize(self, captions: Sequence[str]) -> list[list[int]]:
        end = [] if self.config.stop_token is not None else [self.stop_id]
        return [ids + end for ids in self._encode(captions)]

    def detokenize(self, ids: Sequence[Sequence[int]]) -> list[str]:
        if self.config.tokenizer == "from-captions":
            return [join_words(self.tokenizer.convert_ids_to_tokens(row, skip_special_tokens=True)) for row in ids]
        texts = self.tokenizer.batch_decode(
            [list(row) for row in ids], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return [text.strip() for text in texts]

    def loss(self, prefix: Tensor, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        logits = self.target_logits(prefix, tokens)
        return functional.cross_entropy(logits, tokens.ids[tokens.mask], reduction="sum"), tokens.mask.sum()

    def target_logits(self, prefix: Tensor, tokens: TokenBatch) -> Tensor:
        """Logits (targets, V) for the tokens under the mask, row by row, float32 or wider."""
        context = self._with_prompt(prefix)
        ids = tokens.ids.masked_fill(~tokens.mask, 0)  # padding may hold anything, also what is no id
        # The last column is only ever a target. Padding needs no attention mask: it stands to the right of all that is
        # read, and attention is causal.
        inputs = torch.cat([context, self._embed(ids[:, :-1])], dim=1)  # (B, P + T - 1, E)
        first = context.shape[1] - 1  # the position that predicts the first token
        with head_reads(self.model, lambda hidden: hidden[:, first:][tokens.mask]):  # (targets, E)
            return wide(self.model(inputs_embeds=inputs, use_cache=False).logits)

    @torch.no_grad()
    def generate(self, prefix: Tensor, options: GenerateOptions) -> Generated:
        was_training = self.training
        self.eval()
        try:
            continued = self._continue(self._with_prompt(prefix), options)
        finally:
            self.train(was_training)
        log_probs = torch.tensor([each.log_prob for each in continued], dtype=torch.float32, device=prefix.device)
        return Generated([each.ids for each in continued], log_probs)

    def _continue(self, context: Tensor, options: GenerateOptions) -> list[Continued]:
        self._check_limits(context.shape[1], options)
        rows = options.num_beams if isinstance(options, BeamOptions | AverageBeamOptions) else options.num_captions
        steps = Steps(self.model, context.repeat_interleave(rows, dim=0), use_cache=options.use_cache)
        unknown = self.tokenizer.unk_token_id
        is_learned = self.config.tokenizer == "from-captions"
        limits = Limits(self.stop_id, options.max_tokens, suppressed=(unknown,) if is_learned else ())
        match options:
            case GreedyOptions():
                return continue_rows(steps, lambda logits: logits.argmax(-1), limits)
            case NucleusOptions(top_p=top_p, temperature=temperature):

                def draw(logits: Tensor) -> Tensor:
                    probabilities = nucleus_probabilities(logits, top_p=top_p, temperature=temperature)
                    return torch.multinomial(probabilities, 1)[:, 0]

                return _likeliest_first(continue_rows(steps, draw, limits), rows)
            case BeamOptions(length_penalty=length_penalty):
                captions = beam_search(steps, limits, num_beams=rows, length_penalty=length_penalty)
                return [each for image in captions for each in image[: options.num_captions]]
            case AverageBeamOptions(temperature=temperature):
                captions = average_beam_search(steps, limits, num_beams=rows, temperature=temperature)
                return [each for image in captions for each in image[: options.num_captions]]
        raise ComponentError(
            f'this decoder cannot generate by "{options.method}".', fix="Use another /generate/method."
        )

    def _check_limits(self, num_given: int, options: GenerateOptions) -> None:
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and num_given + options.max_tokens - 1 > limit:  # the last token is not read again
            raise IncompatibleComponents(
                f"{num_given} prefix vectors and {options.max_tokens} tokens exceed the model's {limit} positions.",
                fix=f"Lower /generate/max_tokens to {limit + 1 - num_given}.",
            )
        vocabulary = self.model.get_input_embeddings().weight.shape[0]
        if isinstance(options, AverageBeamOptions) and options.num_beams > vocabulary:
            raise IncompatibleComponents(
                f"{options.num_beams} beams cannot begin with different tokens: the vocabulary has {vocabulary}.",
                fix="Lower /generate/num_beams.",
            )

    def _with_prompt(self, prefix: Tensor) -> Tensor:
        """Prefix (B, P, E) -> (B, P + prompt tokens, E), in the dtype of the token table (autocast may have cut it)."""
        prefix = prefix.to(self.model.get_input_embeddings().weight.dtype)
        if self.task_prompt is None:
            return prefix
        return torch.cat([prefix, self.task_prompt.expand(len(prefix), -1, -1)], dim=1)

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


def _likeliest_first(continued: list[Continued], num_captions: int) -> list[Continued]:
    starts = range(0, len(continued), num_captions)
    return [
        each
        for start in starts
        for each in sorted(continued[start : start + num_captions], key=lambda each: each.log_prob, reverse=True)
    ]


@torch.no_grad()
def _require_causal(model: PreTrainedModel) -> None:
    """Raises `ComponentError` when the first position sees the second, as in an encoder: the loss would be a leak."""
    model.eval()
    width = model.get_input_embeddings().weight.shape[1]
    shared, one, other = torch.arange(3.0 * width).square().sin().view(3, width)  # three unlike vectors, nothing drawn
    inputs = torch.stack([torch.stack([shared, one]), torch.stack([shared, other])])  # (2, 2, E)
    try:
        first = model(inputs_embeds=inputs, use_cache=False).logits[:, 0]  # (2, V)
    except Exception as err:  # sizes that do not fit each other are found here, by whatever layer meets them
        raise ComponentError(
            f"a {type(model).__name__} of this architecture cannot run: {err}",
            option="architecture",
            fix="Correct its sizes; the documentation of transformers says which must fit.",
        ) from err
    if not torch.allclose(first[0], first[1], rtol=0, atol=1e-5 * float(first.abs().max())):
        raise ComponentError(
            f"{type(model).__name__} attends to later positions: it is no causal language model.",
            option="weights",
            fix='Name a causal one; for encoders such as BERT, config.json must say "is_decoder": true.',
        )

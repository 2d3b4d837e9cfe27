"""Similarity of candidate and references in the space of a sentence encoder."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from ....core.protocols import Component, MetricConfig, Weights, hookimpl


class TextSimilarityConfig(MetricConfig):
    """Options of metric "text-similarity"."""

    weights: Weights = Field(
        "sentence-transformers/all-MiniLM-L6-v2",
        description="Text encoder with its tokenizer: a repository of the Hugging Face hub, or a folder that transformers' "
        "save_pretrained or sentence-transformers wrote.",
    )
    max_tokens: int = Field(
        128, ge=4, description="Captions are cut at this many tokens, or at the encoder's own limit."
    )
    batch_size: int = Field(64, ge=1, description="Captions per forward pass.")

    def needs(self) -> tuple[str, ...]:
        """The weights of a sentence encoder."""
        return ("a sentence encoder",)

    def score_names(self) -> tuple[str, ...]:
        """TextSimilarity: the cosine with the nearest reference."""
        return ("TextSimilarity",)


def _write_example(folder: Path) -> TextSimilarityConfig:
    """Saves a tiny random BERT that reads single bytes."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ("[PAD]", "[CLS]", "[SEP]")
    words = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    pairs = [(word, words.index(word)) for word in special[1:]]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, pairs)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", model_max_length=64).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=64, **sizes)).save_pretrained(folder)
    return TextSimilarityConfig(weights=str(folder))


@hookimpl
def register_metrics() -> list[Component]:
    """Registers "text-similarity"."""
    return [
        Component(
            name="text-similarity",
            config=TextSimilarityConfig,
            target=f"{__name__}.model:TextSimilarity",
            summary="Cosine of candidate and nearest reference in a sentence encoder of transformers.",
            example=TextSimilarityConfig(),
            source='Reimers and Gurevych, 2019, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", arXiv '
            "1908.10084 (mean pooling)",
            write_example=_write_example,
            needs="a download of about 90 MB",
        )
    ]

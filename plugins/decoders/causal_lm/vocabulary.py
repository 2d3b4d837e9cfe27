"""Learns a small vocabulary from the training captions, and joins its words to English text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from . import LanguageModelConfig

EOS, UNKNOWN = "[EOS]", "[UNK]"
_INSIDE = "##"  # marks a subword that continues a word
_CLITIC = r"'(?:s|t|m|d|re|ve|ll)\b"
# Numbers with their points, words with their hyphens, clitics with their apostrophe, and every other sign alone.
_WORD = rf"\d+(?:[.,:]\d+)+|\w+(?:-\w+)*|{_CLITIC}|[^\w\s]"

_BEFORE_SIGN = re.compile(rf" ([.,;:!?%)\]}}]|{_CLITIC}|'(?= |$))")
_AFTER_OPENING = re.compile(r"([(\[{$#]) ")
_QUOTED = re.compile(r'" ([^"]*) "')
_SLASH = re.compile(r" / ")


def learn_vocabulary(captions: Iterable[str], config: LanguageModelConfig) -> PreTrainedTokenizerFast:
    """Learns a tokenizer of lower-case words or subwords and punctuation; ids 0 and 1 are `EOS` and `UNKNOWN`."""
    extra = {}
    if config.vocabulary_unit == "words":
        model, trainer_class = models.WordLevel(unk_token=UNKNOWN), trainers.WordLevelTrainer
    else:
        model, trainer_class = models.WordPiece(unk_token=UNKNOWN), trainers.WordPieceTrainer
        extra = {"continuing_subword_prefix": _INSIDE}
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace("\u2019", "'"), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), behavior="removed", invert=True)
    trainer = trainer_class(
        vocab_size=config.vocabulary_size,
        min_frequency=config.min_frequency,
        special_tokens=[EOS, UNKNOWN],
        show_progress=False,
        **extra,
    )
    tokenizer.train_from_iterator(captions, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS, unk_token=UNKNOWN)


def join_words(words: Sequence[str]) -> str:
    """Joins words and signs of a learned vocabulary to text: "a man 's dog ." becomes "a man's dog."."""
    text = " ".join(words).replace(f" {_INSIDE}", "")
    text = _AFTER_OPENING.sub(r"\1", _BEFORE_SIGN.sub(r"\1", text))
    return _SLASH.sub("/", _QUOTED.sub(r'"\1"', text))

"""Decoder and mapper together against the reference outputs of gpt2-image-captioning and ClipCap."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from capfw.core.protocols import AverageBeamOptions, Generated, GenerateOptions, GreedyOptions, Prefix, TokenBatch
from capfw.plugins.decoders.causal_lm import Gpt2Config
from capfw.plugins.decoders.causal_lm.model import LanguageModel
from capfw.plugins.decoders.causal_lm.sampling import draw

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


class Case(NamedTuple):
    """One reference model: its facts, checkpoint, expected outputs, and our decoder with the checkpoint loaded."""

    facts: dict[str, Any]
    state: dict[str, Tensor]
    expected: dict[str, Tensor]
    decoder: LanguageModel


def load(decoder: LanguageModel, state: dict[str, Tensor]) -> None:
    names = decoder.foreign_names(state)
    found = {ours: state[name] for name, ours in names.items() if ours is not None}
    missing, unexpected = decoder.load_state_dict(found, strict=False)
    assert unexpected == []
    assert all(name.startswith("model.") for name in missing)


def generate(decoder: LanguageModel, prefix: Prefix, options: GenerateOptions) -> Generated:
    return decoder.generate(prefix, options, torch.arange(len(prefix.vectors)))


def seed_cases(golden: Path, tmp_path: Path) -> Iterable[Case]:
    folder = golden / "seed_mappers"
    all_facts = json.loads((folder / "config.json").read_text())
    for name, facts in all_facts["cases"].items():
        config = Gpt2Config(
            weights=str(folder / all_facts["tokenizer_and_gpt2"]),
            task_prompt=facts["prefix_task_prompt"],
        )
        assets = tmp_path / name
        assets.mkdir()
        LanguageModel.prepare(config, captions=[], assets=assets)
        decoder = LanguageModel(config, assets=assets).eval()
        expected = load_file(folder / facts["expected"])
        if "task_prefix_embeds_at_init" in expected:
            torch.testing.assert_close(decoder.task_prompt.data, expected["task_prefix_embeds_at_init"], **CLOSE)
        state = torch.load(folder / facts["checkpoint"], weights_only=True)
        load(decoder, state)
        yield Case(facts, state, expected, decoder)


def test_losses_and_logits_are_those_of_gpt2_image_captioning(golden: Path, tmp_path: Path) -> None:
    data = load_file(golden / "seed_mappers/batch.safetensors")
    tokens = TokenBatch(data["token_ids"], data["attention_mask"].bool())
    for case in seed_cases(golden, tmp_path):
        prefix = Prefix(case.expected["prefix_tokens"])
        with torch.no_grad():
            logits = case.decoder.target_logits(prefix, tokens)
            mean = -case.decoder.log_probs(prefix, tokens).sum() / tokens.mask.sum()
        torch.testing.assert_close(logits, case.expected["caption_logits"][tokens.mask], **CLOSE)
        assert float(mean) == pytest.approx(case.facts["loss"], rel=1e-4, abs=1e-4)
        total_length = int(case.expected["total_prefix_length"])
        assert case.decoder.max_positions == case.decoder.model.config.n_positions - (
            total_length - prefix.vectors.shape[1]
        )


def test_greedy_captions_are_those_of_gpt2_image_captioning(golden: Path, tmp_path: Path) -> None:
    facts = json.loads((golden / "seed_mappers/config.json").read_text())
    eos, max_length = facts["eos_token_id"], facts["generate"]["max_length"]
    for case in seed_cases(golden, tmp_path):
        prefix = Prefix(case.expected["prefix_tokens"])
        made = generate(case.decoder, prefix, GreedyOptions(max_tokens=max_length))
        # There, rows that have ended go on with EOS until all of them have.
        width = case.expected["greedy_ids"].shape[1]
        padded = [ids + [eos] * (width - len(ids)) for ids in made.ids]
        assert padded == case.expected["greedy_ids"].tolist()
        assert case.decoder.detokenize(made.ids) == [text.strip() for text in case.facts["greedy_captions"]]
        if "greedy_early_rows" in case.expected:
            rows = Prefix(prefix.vectors[case.expected["greedy_early_rows"]])
            early = generate(case.decoder, rows, GreedyOptions(max_tokens=max_length))
            assert max(map(len, early.ids)) == case.expected["greedy_early_ids"].shape[1]


def test_sampling_distributions_are_those_of_gpt2_image_captioning(golden: Path, tmp_path: Path) -> None:
    checked = 0
    for case in seed_cases(golden, tmp_path):
        for name in (name for name in case.expected if name.startswith("sampling_first_step_probs")):
            temperature, top_p = name.removeprefix("sampling_first_step_probs_T").split("_p")
            first = case.expected["caption_logits"][:, 0]  # logits of the first token
            numbers = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000  # every part of [0, 1) alike
            for logits, expected in zip(first, case.expected[name], strict=True):
                drawn = draw(
                    logits.expand(len(numbers), -1), numbers, top_p=float(top_p), temperature=float(temperature)
                )
                share = drawn.bincount(minlength=len(expected)) / len(numbers)
                torch.testing.assert_close(share, expected, rtol=0, atol=1e-4)
            checked += 1
    assert checked > 0


def test_captions_are_tokenised_as_gpt2_image_captioning_does(golden: Path, tmp_path: Path) -> None:
    facts = json.loads((golden / "seed_mappers/config.json").read_text())["dataset"]
    expected = load_file(golden / "seed_mappers/dataset/expected.safetensors")
    case = next(iter(seed_cases(golden, tmp_path)))
    ours = [ids[: facts["max_length"]] for ids in case.decoder.tokenize(facts["captions"])]
    masks = expected["attention_mask"].bool()
    assert ours == [row[mask].tolist() for row, mask in zip(expected["token_ids"], masks, strict=True)]


@pytest.fixture
def clipcap(golden: Path, tmp_path: Path) -> list[Case]:
    folder = golden / "clipcap"
    all_facts = json.loads((folder / "config.json").read_text())
    cases = []
    for name, facts in all_facts["cases"].items():
        config = Gpt2Config(
            weights=str(folder / all_facts["tokenizer_and_gpt2_config"]), stop_token=all_facts["stop_token"]
        )
        assets = tmp_path / name
        assets.mkdir()
        LanguageModel.prepare(config, captions=[], assets=assets)
        decoder = LanguageModel(config, assets=assets).eval()
        assert decoder.stop_id == all_facts["stop_token_id"]
        state = torch.load(folder / facts["checkpoint"], weights_only=True)
        load(decoder, state)
        cases.append(Case(facts, state, load_file(folder / facts["expected"]), decoder))
    return cases


def prefix_of(case: Case) -> Prefix:
    vectors = case.expected["prefix_projections"].view(-1, case.facts["prefix_length"], case.decoder.embed_dim)
    return Prefix(vectors)


def test_losses_are_those_of_clipcap_but_for_token_0(golden: Path, clipcap: list[Case]) -> None:
    """ClipCap pads with id 0 and ignores it in the loss, and so a real "!" (id 0 too) is read but never trained.

    Here padding is what the mask says, and "!" is a token like others. Leaving the targets with id 0 out of our logits
    gives ClipCap's number.
    """
    tokens = load_file(golden / "clipcap/dataset_expected.safetensors")
    for case in clipcap:
        ids = tokens["tokens"]
        mask = tokens[f"mask_{case.facts['prefix_length']}"][:, case.facts["prefix_length"] :].bool()
        batch = TokenBatch(ids, mask)
        with torch.no_grad():
            logits = case.decoder.target_logits(prefix_of(case), batch)
            total = -case.decoder.log_probs(prefix_of(case), batch).sum()
        torch.testing.assert_close(logits, case.expected["caption_logits"][mask], **CLOSE)
        theirs = functional.cross_entropy(logits, ids[mask], ignore_index=0)
        assert float(theirs) == pytest.approx(case.facts["loss"], rel=1e-4, abs=1e-4)
        exclamations = functional.cross_entropy(logits, ids[mask], reduction="none")[ids[mask] == 0]
        assert len(exclamations) > 0
        num_theirs = int((ids[mask] != 0).sum())
        assert int(mask.sum()) == num_theirs + len(exclamations)
        assert float(total) == pytest.approx(float(theirs) * num_theirs + float(exclamations.sum()), rel=1e-5)


def test_captions_are_tokenised_as_clipcap_does(golden: Path, clipcap: list[Case]) -> None:
    facts = json.loads((golden / "clipcap/config.json").read_text())
    tokens = load_file(golden / "clipcap/dataset_expected.safetensors")
    for case in clipcap:
        length = case.facts["prefix_length"]
        masks = tokens[f"mask_{length}"][:, length:].bool()
        expected = [row[mask].tolist() for row, mask in zip(tokens["tokens"], masks, strict=True)]
        assert [ids[: facts["max_seq_len"]] for ids in case.decoder.tokenize(facts["captions"])] == expected


def test_beam_search_is_that_of_clipcap(golden: Path, clipcap: list[Case]) -> None:
    facts = json.loads((golden / "clipcap/config.json").read_text())
    for case in clipcap:
        for number, call in enumerate(facts["beam_calls"]):
            settings = {**facts["beam_defaults"], **call}
            options = AverageBeamOptions(
                max_tokens=settings["entry_length"],
                num_beams=settings["beam_size"],
                num_captions=settings["beam_size"],
                temperature=settings["temperature"],
            )
            made = generate(case.decoder, prefix_of(case), options)
            for image in range(len(prefix_of(case).vectors)):
                key = f"beam{number}.image{image}"
                lengths = case.expected[f"{key}.lengths"].tolist()
                tokens = case.expected[f"{key}.tokens"].tolist()
                start = image * options.num_captions
                ours = made.ids[start : start + options.num_captions]
                assert ours == [ids[:length] for ids, length in zip(tokens, lengths, strict=True)]
                texts = next(b["texts"] for b in case.facts["beam"] if (b["image"], b["call"]) == (image, number))
                assert case.decoder.detokenize(ours) == [text.strip() for text in texts]
                if options.temperature == 1:
                    means = made.log_probs[start : start + options.num_captions] / torch.tensor(lengths)
                    torch.testing.assert_close(means, case.expected[f"{key}.scores"], **CLOSE)


def test_clipcaps_nucleus_sampling_is_our_greedy_search(golden: Path, clipcap: list[Case]) -> None:
    """Its `generate2` filters by top_p and then takes the argmax, so top_p and temperature change nothing."""
    facts = json.loads((golden / "clipcap/config.json").read_text())
    for case in clipcap:
        for number, call in enumerate(facts["generate2_calls"]):
            settings = {**facts["generate2_defaults"], **call}
            made = generate(case.decoder, prefix_of(case), GreedyOptions(max_tokens=settings["entry_length"]))
            expected = [
                case.expected[f"generate2_{number}.image{i}.tokens"].flatten().tolist() for i in range(len(made.ids))
            ]
            assert made.ids == expected


def test_every_entry_of_the_published_checkpoints_has_a_place(golden: Path) -> None:
    from capfw.plugins.mappers.clipcap_transformer.model import ClipCapTransformerMapper
    from capfw.plugins.mappers.mlp.model import MlpMapper

    files = {
        "keys_mlp_vitb32_prefix10.json": MlpMapper,
        "keys_transformer_rn50x4_prefix40_layers8.json": ClipCapTransformerMapper,
    }
    for file, mapper in files.items():
        names = set(json.loads((golden / "clipcap" / file).read_text()))
        known = {**LanguageModel.foreign_names(names), **mapper.foreign_names(names)}
        assert set(known) == names
        left_out = {name for name, ours in known.items() if ours is None}
        assert left_out == {n for n in names if n.endswith((".attn.bias", ".masked_bias", "lm_head.weight"))}

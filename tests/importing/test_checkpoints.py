"""`capfw import checkpoint`: other projects' weights, as run directories that caption as those projects do."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from capfw import Captioner, load_spec, run
from capfw.cli import main
from capfw.core.engine.importing.checkpoints import import_checkpoint
from capfw.core.engine.model import CaptioningModel
from capfw.core.engine.run import evaluate_run
from capfw.core.errors import BadCheckpoint, DataError, IncompatibleComponents, MissingWeights, RunError, SpecError
from capfw.core.protocols import AverageBeamOptions, Generated, GenerateOptions, GreedyOptions, Prefix
from capfw.core.spec.settings import PartTuning
from capfw.plugins.importers.clipcap import ClipCapConfig
from capfw.plugins.importers.clipcap.clipcap import ClipCapImporter
from capfw.plugins.importers.clipcap.gpt2_image_captioning import Gpt2ImageCaptioningImporter

from .conftest import Original, tiny_clip


def _generated(model: CaptioningModel, embeddings: Tensor, options: GenerateOptions) -> Generated:
    """Captions of pooled embeddings (B, D)."""
    return model.generate(Prefix(model.as_mapper(embeddings[:, None])), options, torch.arange(len(embeddings)))


def capfw(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def sets(overrides: dict[str, object]) -> list[str]:
    return [word for place, value in overrides.items() for word in ("--set", f"{place}={json.dumps(value)}")]


def test_a_checkpoint_of_gpt2_image_captioning_gives_its_greedy_ids(seed: Original, tmp_path: Path) -> None:
    embeddings = load_file(seed.folder / seed.facts["batch"])["image_embeddings"]
    max_tokens, eos = seed.facts["generate"]["max_length"], seed.facts["eos_token_id"]
    for name, case in seed.facts["cases"].items():
        made = import_checkpoint(seed.folder / case["checkpoint"], tmp_path / name, overrides=seed.overrides(case))
        assert made.format_name == "gpt2-image-captioning"
        tuned = made.spec.train.tune.decoder
        if case["freeze_gpt_weights"]:
            assert tuned == (PartTuning(only=("task_prompt",)) if case["prefix_task_prompt"] else None)
        else:
            assert tuned == PartTuning()

        captioner = Captioner.load(tmp_path / name)
        generated = _generated(captioner.model, embeddings, GreedyOptions(max_tokens=max_tokens))

        expected = load_file(seed.folder / case["expected"])["greedy_ids"]
        padded = [ids + [eos] * (expected.shape[1] - len(ids)) for ids in generated.ids]
        assert padded == expected.tolist()


def test_a_checkpoint_of_clipcap_gives_its_beam_search_text_and_ends_at_a_full_stop(
    clipcap: Original, tmp_path: Path
) -> None:
    embeddings = load_file(clipcap.folder / "dataset_expected.safetensors")["prefix_raw"].float()
    for name, case in clipcap.facts["cases"].items():
        made = import_checkpoint(
            clipcap.folder / case["checkpoint"], tmp_path / name, overrides=clipcap.overrides(case)
        )
        assert made.spec.decoder.config.stop_token == clipcap.facts["stop_token"]
        assert made.spec.mapper.config.prefix_length == case["prefix_length"]

        captioner = Captioner.load(tmp_path / name)
        settings = {**clipcap.facts["beam_defaults"], **clipcap.facts["beam_calls"][0]}
        options = captioner.spec.generate
        assert options == AverageBeamOptions(
            max_tokens=settings["entry_length"], num_beams=settings["beam_size"], temperature=settings["temperature"]
        )
        generated = _generated(captioner.model, embeddings, options)

        expected = {b["image"]: b["texts"][0].strip() for b in case["beam"] if b["call"] == 0}
        texts = captioner.model.as_decoder.detokenize(generated.ids)
        assert texts == [expected[image] for image in range(len(texts))]
        ended = [ids for ids in generated.ids if len(ids) < options.max_tokens]
        assert ended
        assert all(ids[-1] == clipcap.facts["stop_token_id"] for ids in ended)


def test_the_published_layouts_of_clipcap_say_their_sizes_and_their_encoder(clipcap: Original) -> None:
    wanted = {
        "keys_mlp_vitb32_prefix10.json": ({"name": "mlp", "prefix_length": 10}, "ViT-B-32", False),
        "keys_transformer_rn50x4_prefix40_layers8.json": (
            {"name": "clipcap-transformer", "prefix_length": 40, "num_image_tokens": 40, "num_layers": 8},
            "RN50x4",
            True,
        ),
    }
    for file, (mapper, model, normalize) in wanted.items():
        keys = json.loads((clipcap.folder / file).read_text())
        found = ClipCapImporter(ClipCapConfig()).checkpoint({k: tuple(each["shape"]) for k, each in keys.items()}, 768)
        assert found is not None
        assert found.sections["mapper"] == mapper
        assert found.sections["encoder"] == {
            "name": "clip", "model": model, "weights": "openai", "normalize": normalize
        }  # fmt: skip
        assert found.needed == {}
        assert model in found.notices[0]


@pytest.mark.slow
def test_published_checkpoints_import_at_full_size(clipcap: Original, shared_data: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, GPT2Config

    folder = tmp_path / "gpt2"
    AutoTokenizer.from_pretrained(shared_data / "gpt2_tokenizer").save_pretrained(folder)
    GPT2Config().save_pretrained(folder)
    for name, model in (
        ("keys_mlp_vitb32_prefix10", "ViT-B-32"),
        ("keys_transformer_rn50x4_prefix40_layers8", "RN50x4"),
    ):
        keys = json.loads((clipcap.folder / f"{name}.json").read_text())
        state = {
            key: torch.randn(each["shape"]).mul(0.02).to(getattr(torch, each["dtype"])) for key, each in keys.items()
        }
        torch.save(state, tmp_path / f"{name}.pt")
        encoder = {"name": "clip", "model": model, "weights": "random"}
        overrides = {"/encoder": encoder, "/decoder/weights": str(folder)}
        import_checkpoint(tmp_path / f"{name}.pt", tmp_path / name, overrides=overrides)
        captioner = Captioner.load(tmp_path / name)
        [[caption]] = captioner.caption([Image.new("RGB", (40, 30))], AverageBeamOptions(max_tokens=3))
        assert caption.log_prob < 0
        wte = captioner.model.decoder.model.transformer.wte.weight
        torch.testing.assert_close(wte, state["gpt.transformer.wte.weight"], rtol=0, atol=0)


@pytest.fixture
def case(seed: Original) -> dict[str, Any]:
    return next(iter(seed.facts["cases"].values()))


def test_the_commands_use_it_at_once(seed: Original, case: dict[str, Any], tmp_path: Path) -> None:
    Image.new("RGB", (50, 40), "red").save(tmp_path / "red.png")
    data = {"name": "shapes", "num_train": 2, "num_val": 2, "num_test": 3, "image_size": 32}
    run_dir, file = tmp_path / "run", seed.folder / case["checkpoint"]
    made = capfw("import", "checkpoint", file, run_dir, *sets({**seed.overrides(case), "/data": data}))
    assert made.exit_code == 0, made.output
    assert f"capfw caption IMAGES... --run {run_dir}" in made.stdout

    captioned = capfw("caption", tmp_path / "red.png", "--run", run_dir, "--json")
    assert captioned.exit_code == 0, captioned.output
    assert json.loads(captioned.stdout)["captions"][0]["log_prob"] < 0
    evaluated = capfw("evaluate", run_dir, "--json")
    assert evaluated.exit_code == 0, evaluated.output
    assert set(json.loads(evaluated.stdout)["scores"]) == {"BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr"}
    assert len(json.loads((run_dir / "candidates/test.json").read_text())) == 3

    trained = capfw("run", run_dir / "spec.json")
    assert trained.exit_code == 1
    assert "this run was imported" in trained.stderr
    environment = json.loads((run_dir / "environment.json").read_text())
    assert environment["imported"]["format"] == "gpt2-image-captioning"


def test_without_data_it_captions_and_says_what_an_evaluation_needs(
    seed: Original, case: dict[str, Any], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    made = capfw("import", "checkpoint", seed.folder / case["checkpoint"], run_dir, *sets(seed.overrides(case)))
    assert "--set '/data=" in made.stdout
    assert Captioner.load(run_dir).caption([Image.new("RGB", (9, 9))])
    refused = capfw("evaluate", run_dir)
    assert refused.exit_code == 2
    assert "/data: this spec has no data set." in refused.stderr
    data = {"name": "shapes", "num_train": 2, "num_val": 2, "num_test": 2, "image_size": 32}
    scored = capfw("evaluate", run_dir, *sets({"/data": data}), "--output", tmp_path / "scores")
    assert scored.exit_code == 0, scored.output
    assert capfw("validate", run_dir / "spec.json").exit_code == 0
    with pytest.raises(RunError, match="imported"):
        run(load_spec(run_dir / "spec.json"))


def test_a_tuned_decoder_needs_its_published_weights_no_more(seed: Original, tmp_path: Path) -> None:
    case = next(case for case in seed.facts["cases"].values() if not case["freeze_gpt_weights"])
    overrides = seed.overrides(case)
    gpt2 = shutil.copytree(overrides["/decoder/weights"], tmp_path / "gpt2")
    import_checkpoint(
        seed.folder / case["checkpoint"], tmp_path / "run", overrides=overrides | {"/decoder/weights": str(gpt2)}
    )
    shutil.rmtree(gpt2)
    embeddings = load_file(seed.folder / seed.facts["batch"])["image_embeddings"]
    model = Captioner.load(tmp_path / "run").model
    made = _generated(model, embeddings, GreedyOptions(max_tokens=3))
    expected = load_file(seed.folder / case["expected"])["greedy_ids"]
    assert made.ids[0] == expected[0, : len(made.ids[0])].tolist()
    data = {"name": "shapes", "num_train": 2, "num_val": 2, "num_test": 2, "image_size": 32}
    scored = evaluate_run(tmp_path / "run", overrides={"/data": data}, output=tmp_path / "scores")
    assert len(scored.captions) == 2
    lost = {"name": "coco", "test": {"images": "nowhere", "captions": "nowhere.json"}}
    with pytest.raises(DataError, match=r"nowhere\.json: cannot be read"):
        evaluate_run(tmp_path / "run", overrides={"/data": lost}, output=tmp_path / "scores")


def test_what_the_file_does_not_say_is_asked_for_all_at_once(seed: Original, tmp_path: Path) -> None:
    case = next(case for case in seed.facts["cases"].values() if case["prefix_task_prompt"])
    with pytest.raises(SpecError) as caught:
        import_checkpoint(seed.folder / case["checkpoint"], tmp_path / "run")
    problems = {problem.pointer: problem.fix for problem in caught.value.problems}
    assert set(problems) == {"/encoder", "/decoder/task_prompt"}
    assert f"width {case['mapping_network']['embed_dim']}" in problems["/encoder"]
    assert "--set /decoder/task_prompt=" in problems["/decoder/task_prompt"]
    assert list(tmp_path.iterdir()) == []


class Boom:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.file,))


def _truncated(file: Path, seed: Original, case: dict[str, Any]) -> None:
    data = (seed.folder / case["checkpoint"]).read_bytes()
    file.write_bytes(data[: len(data) // 2])


def _with_code(file: Path, seed: Original, case: dict[str, Any]) -> None:
    torch.save({"mapping_network.model.0.weight": Boom(file.with_name("ran"))}, file)


def _plain_pickle_with_code(file: Path, seed: Original, case: dict[str, Any]) -> None:
    file.write_bytes(pickle.dumps(Boom(file.with_name("ran")), protocol=2))


def _text(file: Path, seed: Original, case: dict[str, Any]) -> None:
    file.write_text("[1, 2]")


def _no_known_format(file: Path, seed: Original, case: dict[str, Any]) -> None:
    torch.save({"conv1.weight": torch.zeros(2, 2)}, file)


def _lacks_a_layer(file: Path, seed: Original, case: dict[str, Any]) -> None:
    state = torch.load(seed.folder / case["checkpoint"], weights_only=True)
    del state["mapping_network.model.0.bias"]
    torch.save(state, file)


def _has_a_stranger(file: Path, seed: Original, case: dict[str, Any]) -> None:
    state = torch.load(seed.folder / case["checkpoint"], weights_only=True)
    torch.save(state | {"retrieval.weight": torch.zeros(1)}, file)


def _trained_to_nan(file: Path, seed: Original, case: dict[str, Any]) -> None:
    state = torch.load(seed.folder / case["checkpoint"], weights_only=True)
    state["mapping_network.model.0.bias"][3] = torch.nan
    torch.save(state, file)


def _quantised(file: Path, seed: Original, case: dict[str, Any]) -> None:
    state = torch.load(seed.folder / case["checkpoint"], weights_only=True)
    torch.save({name: value.mul(100).to(torch.int8) for name, value in state.items()}, file)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_truncated, "cannot be read as weights"),
        (_with_code, "its code never runs"),
        (_plain_pickle_with_code, "its code never runs"),
        (_text, "cannot be read as weights: Unsupported operand"),
        (_no_known_format, "has no known format"),
        (_lacks_a_layer, "1 missing: mapper.layers.0.bias"),
        (_trained_to_nan, "1 of 4 entries hold NaN or infinity: mapper.layers.0.bias"),
        (_quantised, "4 of 4 entries have another number type"),
        (_has_a_stranger, "1 entries that neither .* retrieval.weight"),
    ],
)
def test_a_checkpoint_that_is_damaged_or_another_is_refused_and_leaves_nothing(
    spoil: Any, says: str, seed: Original, case: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "weights.pth"
    spoil(file, seed, case)
    with pytest.raises(BadCheckpoint, match=says) as caught:
        import_checkpoint(file, tmp_path / "run", overrides=seed.overrides(case))
    assert str(file) in str(caught.value)
    assert list(tmp_path.iterdir()) == [file]


def test_parts_that_do_not_fit_are_refused_by_name(seed: Original, case: dict[str, Any], tmp_path: Path) -> None:
    file, overrides = seed.folder / case["checkpoint"], seed.overrides(case)
    dim = case["mapping_network"]["embed_dim"]
    with pytest.raises(IncompatibleComponents, match=f"width {dim}, but encoder .clip. emits") as caught:
        import_checkpoint(file, tmp_path / "run", overrides=overrides | {"/encoder": tiny_clip(dim + 8)})
    assert caught.value.where == "/encoder"
    with pytest.raises(BadCheckpoint, match=r"of another shape: mapper\.layers\.0\.weight"):
        import_checkpoint(file, tmp_path / "run", overrides=overrides | {"/mapper/prefix_length": 7})
    with pytest.raises(BadCheckpoint, match='does not have the format "clipcap"'):
        import_checkpoint(file, tmp_path / "run", overrides=overrides, format_name="clipcap")
    with pytest.raises(MissingWeights, match="no file"):
        import_checkpoint(tmp_path / "nothing.pt", tmp_path / "run")
    (tmp_path / "run").mkdir()
    with pytest.raises(RunError, match="this path exists already"):
        import_checkpoint(file, tmp_path / "run", overrides=overrides)


def test_a_mapping_network_of_no_width_is_refused() -> None:
    shapes = {"mapping_network.prefix_const": (0, 0), "mapping_network.linear.weight": (0, 8)}
    with pytest.raises(BadCheckpoint, match="lacks an entry, or has one with another shape"):
        Gpt2ImageCaptioningImporter(ClipCapConfig()).checkpoint(shapes, None)


def test_options_that_could_do_nothing_are_refused(seed: Original, case: dict[str, Any], tmp_path: Path) -> None:
    overrides = seed.overrides(case) | {"/run_dir": "elsewhere", "/features/standardize": True}
    with pytest.raises(SpecError) as caught:
        import_checkpoint(seed.folder / case["checkpoint"], tmp_path / "run", overrides=overrides)
    assert [problem.pointer for problem in caught.value.problems] == ["/run_dir", "/features/standardize"]
    assert list(tmp_path.iterdir()) == []


def test_a_run_directory_that_cannot_be_made_is_named(seed: Original, case: dict[str, Any], tmp_path: Path) -> None:
    file, overrides = seed.folder / case["checkpoint"], seed.overrides(case)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be created: Not a directory") as caught:
        import_checkpoint(file, tmp_path / "file/run", overrides=overrides)
    assert caught.value.where == str(tmp_path / "file/run")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    for taken in ("link", "absent/.."):
        with pytest.raises(RunError, match="this path exists already"):
            import_checkpoint(file, tmp_path / taken, overrides=overrides)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]

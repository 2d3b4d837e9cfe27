"""Published weights: all missing ones are reported at once, after one look-up, and those that are here need none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import CLIP, GPT2, TIMM, VIT

NOWHERE = "http://127.0.0.1:9"  # nothing listens on this port


def missing(error: str) -> list[str]:
    """The places in the first line of an error."""
    return error.partition(": ")[0].split(", ")


def last_error(done: Any) -> str:
    """Standard error without the line that names the run directory."""
    return str(done.stderr).partition("\n")[2]


def test_one_error_names_everything_after_one_question_to_each_repository(machine: Any, hub_of: Any) -> None:
    spec = machine.spec(CLIP, GPT2, "clip-score", "ref-clip-score")
    with hub_of("me/vit") as hub:
        done = machine.capfw("run", spec, hub=hub.address)
    assert done.returncode == 2
    error = last_error(done)
    assert missing(error) == ["/encoder/weights", "/decoder/weights", "/metrics/1/weights", "/metrics/2/weights"]
    assert hub.asked == ["me/gpt", "timm/vit_base_patch32_clip_224.openai"]
    assert len(hub.requests) == 2
    lines = [line.strip() for line in error.splitlines()]
    assert '"openai" of ViT-B-32 and me/gpt are not on this machine' in lines[0]
    assert "the hub has no such repository" in lines[0]
    assert lines[1] == "Without a network, set HF_HUB_OFFLINE=1: then nothing is looked up."
    commands = [line for line in lines if line.startswith("hf download")]
    assert [command.split()[2] for command in commands] == ["timm/vit_base_patch32_clip_224.openai", "me/gpt"]
    assert commands[0].endswith("# /encoder/weights, /metrics/1/weights, /metrics/2/weights")
    assert str(machine.folder / "cache" / "hub") in error
    assert 'name a local file or folder ("./folder")' in error


def test_a_hub_out_of_reach_is_asked_once_and_not_again(machine: Any) -> None:
    spec = machine.spec(CLIP, GPT2)
    done = machine.capfw("run", spec, hub=NOWHERE)
    assert done.returncode == 2
    assert missing(last_error(done)) == ["/encoder/weights", "/decoder/weights"]
    assert f"{NOWHERE} cannot be reached" in done.stderr
    assert "Retrying" not in done.stderr


def test_offline_nothing_is_looked_up(machine: Any, hub_of: Any) -> None:
    spec = machine.spec(VIT, GPT2)
    with hub_of("me/vit", "me/gpt") as hub:
        done = machine.capfw("run", spec, hub=hub.address, HF_HUB_OFFLINE="1")
    assert hub.requests == []
    assert missing(last_error(done)) == ["/encoder/weights", "/decoder/weights"]
    assert "HF_HUB_OFFLINE is set.\n  Unset HF_HUB_OFFLINE" in done.stderr


@pytest.mark.parametrize(("encoder", "decoder"), [(VIT, "me/gpt"), (TIMM, "me/pickled")], ids=["vit", "timm"])
def test_what_is_missing_is_downloaded_once_and_then_found_without_a_look_up(
    machine: Any, hub_of: Any, encoder: dict[str, Any], decoder: str
) -> None:
    spec = machine.spec(encoder, {"name": "gpt2", "weights": decoder})
    repository = "me/vit" if encoder is VIT else "timm/test_vit.r160_in1k"
    with hub_of(repository, decoder) as hub:
        done = machine.capfw("train", spec, hub=hub.address)
        assert done.returncode == 0, done.stderr
        assert hub.asked == sorted([decoder, repository])
        weights = "model.safetensors" if decoder == "me/gpt" else "pytorch_model.bin"
        assert {f"{decoder}/{weights}", f"{decoder}/tokenizer.json"} <= set(hub.downloaded)
        assert len(hub.downloaded) == len(set(hub.downloaded))
        assert "downloading" in done.stderr
        hub.requests.clear()
        again = machine.spec(encoder, {"name": "gpt2", "weights": decoder})
        done = machine.capfw("train", again, hub=hub.address)
        assert done.returncode == 0, done.stderr
        assert hub.requests == []


@pytest.mark.slow
def test_a_finished_run_captions_without_the_weights_of_its_tuned_decoder(machine: Any, hub_of: Any) -> None:
    images = machine.folder / "images"
    images.mkdir()
    from PIL import Image

    Image.new("RGB", (32, 32), "red").save(images / "red.png")
    random_vit = {"name": "vit", "weights": "random", "architecture": {"image_size": 32, "width": 32, "num_layers": 1}}
    random_vit["architecture"] |= {"num_heads": 2}
    frozen = {"epochs": 1, "max_steps": 1, "batch_size": 4, "tune": {"mapper": {}, "decoder": None}}
    tuned, fixed = machine.spec(random_vit, GPT2), machine.spec(random_vit, GPT2, train=frozen)
    with hub_of("me/gpt") as hub:
        for spec in (tuned, fixed):
            assert machine.capfw("train", spec, hub=hub.address).returncode == 0
    cache = machine.folder / "cache"
    cache.rename(machine.folder / "elsewhere")
    done = machine.capfw("caption", images, "--run", machine.folder / "runs" / "0", hub=NOWHERE)
    assert done.returncode == 0, done.stderr
    done = machine.capfw("caption", images, "--run", machine.folder / "runs" / "1", hub=NOWHERE)
    assert done.returncode == 2
    assert missing(done.stderr) == ["/decoder/weights"]
    after = machine.spec(random_vit, GPT2, train={"max_steps": 1, "from": str(machine.folder / "runs" / "0")})
    done = machine.capfw("train", after, hub=NOWHERE)
    assert done.returncode == 0, done.stderr


def test_validate_finds_published_weights_without_a_look_up(machine: Any, hub_of: Any) -> None:
    spec = machine.spec(VIT, GPT2)
    with hub_of("me/vit", "me/gpt") as hub:
        done = machine.capfw("validate", spec, hub=hub.address)
        assert "Not checked: weights (--weights finds published ones on this machine)" in done.stdout
        done = machine.capfw("validate", spec, "--weights", hub=hub.address)
        assert done.returncode == 2
        assert missing(done.stderr) == ["/encoder/weights", "/decoder/weights"]
        assert "`capfw run` does" in done.stderr
        done = machine.capfw("validate", spec, "--weights", "--json", hub=hub.address)
        assert done.returncode == 2
        places = [each["pointer"] for each in json.loads(done.stdout)["missing_weights"]]
        assert places == ["/encoder/weights", "/decoder/weights"]
        assert hub.requests == []
        assert machine.capfw("extract", spec, hub=hub.address).returncode == 0
        hub.requests.clear()
        done = machine.capfw("validate", spec, "--weights", hub=hub.address)
        assert done.returncode == 0, done.stderr
        assert "Published weights: all on this machine" in done.stdout
        assert hub.requests == []


def test_a_repository_without_the_files_is_reported_with_their_names(
    machine: Any, hub_of: Any, repositories: dict[str, Path]
) -> None:
    spec = machine.spec({"name": "vit", "weights": "me/gpt"}, GPT2)
    with hub_of("me/gpt") as hub:
        done = machine.capfw("run", spec, hub=hub.address)
    assert done.returncode == 2
    assert missing(last_error(done)) == ["/encoder/weights"]
    assert "the repository has none of preprocessor_config.json, processor_config.json" in done.stderr
    assert hub.downloaded == []


def test_the_name_of_a_folder_is_refused_with_how_to_write_it(machine: Any) -> None:
    for encoder, decoder, place in (
        (VIT | {"weights": "a/b/vit"}, GPT2, "encoder"),
        (VIT, GPT2 | {"weights": "a/b/vit"}, "decoder"),
    ):
        done = machine.capfw("validate", machine.spec(encoder, decoder), "--weights", hub=NOWHERE)
        assert done.returncode == 2
        first, fix = done.stderr.splitlines()
        assert first == f'/{place}/weights: no repository of the Hugging Face hub can have the name "a/b/vit".'
        assert fix.endswith('begin the path of a local file or folder with "./".')

"""Ten packages, each broken in its own way, installed at once: a run that needs none of them is none the worse."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

QUICKSTART = Path(__file__).parents[2] / "examples/quickstart.json"
ONE = "@hookimpl\ndef register_encoders():\n    return [made()]\n"


@dataclass(frozen=True)
class Broken:
    """The module of a package, what its cause must say, and the kinds that can be known."""

    body: str
    says: tuple[str, ...]
    kinds: tuple[str, ...] = ()
    entry_point: str | None = None
    needs_preamble: bool = True


BROKEN = {
    "capfw-raises": Broken(
        "\nraise RuntimeError('no luck ' * 200)", ("RuntimeError: no luck", "capfw_raises.py, line")
    ),
    "capfw-syntax": Broken("def (", ("SyntaxError", "line 1"), needs_preamble=False),
    "capfw-exits": Broken("import sys\nsys.exit(3)", ("SystemExit: 3",)),
    "capfw-lacks-library": Broken(
        "import a_library_nobody_has.part",
        ('"a_library_nobody_has", which is not installed', "pip install a_library_nobody_has"),
    ),
    "capfw-unmarked": Broken(
        "def register_encoders():\n    return [made()]", ("write @hookimpl above it",), ("encoder",)
    ),
    "capfw-misspelt": Broken(
        "@hookimpl\ndef register_encoder():\n    return []", ('Did you mean "register_encoders"',), ("encoder",)
    ),
    "capfw-signature": Broken(
        "@hookimpl\ndef register_mappers(surprise):\n    return []", ("register_mappers", "surprise"), ("mapper",)
    ),
    "capfw-nonsense": Broken(
        "@hookimpl\ndef register_decoders():\n    return 'eye'", ("'eye', not a list of Component",), ("decoder",)
    ),
    "capfw-future": Broken(
        "capfw_api = 99\n" + ONE, ("plugin API 99", "this capfw has 1", "upgrade capfw"), ("encoder",)
    ),
    "capfw-nowhere": Broken(
        "", ("the module nowhere_at_all.plugins", "there is no nowhere_at_all"), entry_point="nowhere_at_all.plugins"
    ),
}
OBSERVER = "@hookimpl\ndef step_ended(event):\n    raise OSError('the disk of the logger is full')\n"


@pytest.fixture
def crowded(site: Any, preamble: str) -> Any:
    """A site with all ten, and an eleventh whose hook breaks during the run."""
    for name, broken in BROKEN.items():
        site.install(name, preamble * broken.needs_preamble + broken.body, entry_point=broken.entry_point)
    site.install("capfw-observer", preamble + OBSERVER)
    return site


def test_all_are_named_with_their_causes(crowded: Any) -> None:
    assert len(BROKEN) == 10
    plain, listed = crowded.capfw("plugins"), crowded.plugins()

    assert plain.returncode == 0
    for name, broken in BROKEN.items():
        plugin = listed[name]
        assert (plugin["distribution"], plugin["version"], plugin["state"]) == (name, "1.2", "broken"), plugin
        assert tuple(plugin["kinds"]) == broken.kinds
        assert plugin["components"] == []
        [row] = [number for number, line in enumerate(plain.stdout.splitlines()) if line.startswith(f"{name} ")]
        line, cause = plain.stdout.splitlines()[row : row + 2]
        assert line.split()[1:4] == [name, "1.2", "broken"]
        assert (", ".join(broken.kinds) or "of unknown kind") in line
        for words in broken.says:
            assert words in plugin["cause"]
            assert words in cause or name == "capfw-raises"
    assert len(max(plain.stdout.splitlines(), key=len)) <= 504  # the long cause is cut here, and whole as JSON
    assert listed["capfw-raises"]["cause"].count("no luck") == 200
    assert listed["capfw-observer"]["state"] == "ok"
    assert listed["capfw-observer"]["kinds"] == ["observer"]
    sound = [plugin for plugin in listed.values() if plugin["distribution"] == "capfw"]
    assert {plugin["state"] for plugin in sound} == {"ok"}
    assert len(sound) > 10


def test_the_quickstart_works(crowded: Any, tmp_path: Path) -> None:
    smaller = {"/data/num_train": 8, "/data/num_val": 2, "/data/num_test": 2, "/train/max_steps": 2}
    sets = [f"--set={place}={value}" for place, value in {**smaller, "/run_dir": tmp_path / "run"}.items()]
    done = crowded.capfw("run", QUICKSTART, *sets, "--json")

    assert done.returncode == 0, done.stderr
    assert {"BLEU-4", "ROUGE-L", "CIDEr"} <= json.loads(done.stdout)["scores"].keys()
    assert done.stderr.count("the disk of the logger is full") == 1
    assert "observer capfw-observer" in done.stderr


def test_a_spec_that_needs_one_is_told_what_is_broken(crowded: Any, tiny: Callable[..., Path]) -> None:
    done = crowded.capfw("validate", tiny(encoder={"name": "eye"}))

    assert (done.returncode, done.stdout) == (2, "")
    assert '/encoder/name: no encoder is called "eye".' in done.stderr
    assert 'plugin "capfw-future" of capfw-future 1.2 is broken: it needs capfw plugin API 99' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_component_that_is_looked_up_by_name_is_told_what_is_broken(crowded: Any) -> None:
    for command in ("show", "check"):
        done = crowded.capfw("plugins", command, "eye")

        assert (done.returncode, done.stdout) == (2, "")
        assert 'no component is called "eye".' in done.stderr
        assert 'plugin "capfw-syntax" of capfw-syntax 1.2 is broken: ' in done.stderr

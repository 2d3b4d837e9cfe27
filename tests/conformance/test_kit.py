"""The kit itself: sound plugins pass, every check can fail and says what to do, and each face of it works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import broken_toys
import heavy_toys
import pytest
import sound_toys
from click.testing import CliRunner
from torch import Tensor

from capfw.cli import main
from capfw.core.conformance import conformance_test, registered, run_checks
from capfw.core.errors import MissingLibrary, PluginError
from capfw.core.protocols import Prefix, TokenBatch
from capfw.core.registry import Registry

ADVICE = {check.name: check.advice for check in registered()}
HEAVY = broken_toys.Broken(heavy_toys, "importing heavy_toys imports numpy, torch")
BROKEN = {"imports-light": HEAVY, **broken_toys.BROKEN}

test_sound_plugin = conformance_test(sound_toys)


def test_every_check_has_its_broken_plugin_and_its_words() -> None:
    assert set(ADVICE) == set(BROKEN)
    assert len(registered()) == len(ADVICE)
    assert all(len(check.promise) > 20 and len(check.advice) > 40 for check in registered())


@pytest.mark.parametrize("check", BROKEN)
def test_check_finds_what_is_broken_and_only_that(check: str) -> None:
    broken = BROKEN[check]
    registry = Registry([broken.plugin])
    [name] = registry.plugins[0].components

    results = run_checks(name.replace(" ", "/"), registry)
    failed = {result.check: result for result in reversed(results) if result.outcome == "failed"}  # the first of each

    assert set(failed) == {check}, "\n".join(map(str, failed.values()))
    assert broken.says in failed[check].message
    assert str(failed[check]).endswith(ADVICE[check])


def test_a_component_is_checked_under_each_value_of_the_options_that_list_theirs() -> None:
    results = run_checks("decoder/voice", Registry([sound_toys]))

    under = Counter(result.options for result in results)
    assert set(under) == {"", 'table "fixed"'}
    assert under['table "fixed"'] < under[""]  # what is said of the component is looked at once
    assert {result.outcome for result in results} == {"passed"}


def test_an_encoder_of_sounds_skips_the_checks_of_images_with_the_reason() -> None:
    results = {result.check: result for result in run_checks("encoder/hearing", Registry([sound_toys]))}

    skipped = [result for result in results.values() if result.outcome == "skipped"]
    assert [result.check for result in skipped] == ["transforms-any-image"]
    assert "its sources are not images" in skipped[0].message
    assert results["encoder-can-be-tuned"].outcome == results["transform-pickles"].outcome == "passed"


class NeedsAProgram:
    def __init__(self, config: object) -> None:
        raise MissingLibrary("it runs a program that is not here.", fix="apt install program")


def test_what_cannot_be_checked_here_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    import sound_models

    monkeypatch.setattr(sound_models, "Length", NeedsAProgram)
    results = {result.check: result for result in run_checks("length", Registry([sound_toys]))}

    skipped = results["scores-as-named"]
    assert skipped.outcome == "skipped"
    assert skipped.message == "it runs a program that is not here.\n  apt install program"
    assert results["has-summary"].outcome == "passed"
    assert "failed" not in {result.outcome for result in results.values()}


def test_very_many_positions_are_not_filled_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    import sound_models

    lengths = []

    class Voice(sound_models.Voice):
        max_positions = 1_000_000

        def log_probs(self, prefix: Prefix, tokens: TokenBatch) -> Tensor:
            lengths.append(prefix.vectors.shape[1] + tokens.ids.shape[1])
            return super().log_probs(prefix, TokenBatch(tokens.ids[:, :8], tokens.mask[:, :8]))

    monkeypatch.setattr(sound_models, "Voice", Voice)
    results = {result.check: result for result in run_checks("decoder/voice", Registry([sound_toys]))}

    assert results["sizes-hold"].outcome == "passed"
    assert max(lengths) == 4096


def test_a_plugin_that_cannot_be_registered_is_no_plugin_without_tests() -> None:
    with pytest.raises(PluginError, match="implements no hook"):
        conformance_test(sys)


def test_run_checks_names_what_it_does_not_find() -> None:
    with pytest.raises(PluginError, match='no component is called "voise"') as caught:
        run_checks("voise", Registry([sound_toys]))
    assert 'Did you mean "voice"' in str(caught.value)


@pytest.fixture
def use_toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands find the sound toys, of which the mapper is spoiled."""
    plugins = [sound_toys, BROKEN["mapper-learns"].plugin]
    monkeypatch.setattr(Registry, "discover", lambda **_: Registry(plugins))


def test_plugins_check_prints_every_check_and_exits_1_when_one_fails(use_toys: None) -> None:
    sound = CliRunner().invoke(main, ["plugins", "check", "mapper/map"])
    broken = CliRunner().invoke(main, ["plugins", "check", "broken"])
    as_json = CliRunner().invoke(main, ["plugins", "check", "broken", "--json"])
    unknown = CliRunner().invoke(main, ["plugins", "check", "brokn"])

    assert sound.exit_code == 0, sound.output
    assert "passed   mapper map: prefix-as-declared" in sound.stdout
    assert sound.stdout.splitlines()[-1].endswith(" passed, 0 failed, 0 skipped")
    assert broken.exit_code == 1
    assert "failed   mapper broken: mapper-learns\n    no gradient reaches forgotten.weight" in broken.stdout
    assert f"    {ADVICE['mapper-learns']}" in broken.stdout
    assert as_json.exit_code == 1
    assert {r["check"] for r in json.loads(as_json.stdout) if r["outcome"] == "failed"} == {"mapper-learns"}
    assert unknown.exit_code == 2
    assert 'Did you mean "broken"' in unknown.stderr


def test_an_author_needs_one_line(tmp_path: Path) -> None:
    """As a plugin package's own tests have it, in a pytest that knows nothing of ours."""
    test = tmp_path / "test_conformance.py"
    test.write_text(
        "import heavy_toys\nfrom capfw.core.conformance import conformance_test\n"
        "test_conformance = conformance_test(heavy_toys)\n"
    )
    toys = Path(__file__).with_name("toys")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rf", "-p", "no:cacheprovider", str(test)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(toys)},
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "FAILED test_conformance.py::test_conformance[encoder-eye-imports-light]" in done.stdout
    assert ADVICE["imports-light"] in done.stdout
    assert "1 failed" in done.stdout


def test_the_kit_works_without_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "import sound_toys; from capfw.core.conformance import run_checks; from capfw.core.registry import Registry\n"
        "print({result.outcome for result in run_checks('map', Registry([sound_toys]))})"
    )
    toys = str(Path(__file__).with_name("toys"))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": toys},
    )
    assert done.stdout == "{'passed'}\n", done.stdout + done.stderr


def test_plugins_check_gives_the_reason_of_skipped_checks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import sound_models

    monkeypatch.setattr(sound_models, "Length", NeedsAProgram)
    monkeypatch.setattr(Registry, "discover", lambda **_: Registry([sound_toys]))

    listed = CliRunner().invoke(main, ["plugins", "check", "metric/length"]).stdout

    assert listed.count("\nskipped ") > 1
    assert listed.count("it runs a program that is not here.") == 1

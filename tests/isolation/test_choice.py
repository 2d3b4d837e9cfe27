"""CAPFW_PLUGINS and --no-plugin choose what is imported."""

from __future__ import annotations

from typing import Any

import pytest

from capfw.core.errors import PluginError
from capfw.core.registry import Registry

ENCODER = "@hookimpl\ndef register_encoders():\n    return [made({name!r})]\n"


@pytest.fixture
def two(here: Any, preamble: str) -> Any:
    here.install("capfw-one", preamble + ENCODER.format(name="one"))
    here.install("capfw-two", preamble + "raise RuntimeError('imported')")
    return here


def states() -> dict[str, str]:
    return {plugin.name: plugin.state for plugin in Registry.discover().plugins}


@pytest.mark.parametrize("empty", ["", " ", ",", " , "])
def test_empty_is_as_good_as_not_set(two: Any, monkeypatch: pytest.MonkeyPatch, empty: str) -> None:
    expected = states()
    monkeypatch.setenv("CAPFW_PLUGINS", empty)

    assert states() == expected
    assert (expected["capfw-one"], expected["capfw-two"], expected["mapper-mlp"]) == ("ok", "broken", "ok")
    assert {plugin.state for plugin in Registry.discover(only=[]).plugins} == {"skipped"}  # said in Python, it is meant


@pytest.mark.parametrize("written", ["capfw-one,mapper-mlp", " Capfw_One , mapper-mlp,", "capfw.one,mapper-mlp"])
def test_only_what_is_named_is_imported(two: Any, monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    monkeypatch.setenv("CAPFW_PLUGINS", written)

    assert {name for name, state in states().items() if state == "ok"} == {"capfw-one", "mapper-mlp"}
    assert states()["capfw-two"] == "skipped"


def test_a_distribution_stands_for_all_its_plugins(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPFW_PLUGINS", "capfw")

    found = Registry.discover().plugins

    assert {plugin.distribution for plugin in found if plugin.state == "ok"} == {"capfw"}
    assert {plugin.name for plugin in found if plugin.state == "skipped"} >= {"capfw-one", "capfw-two"}


def test_a_wrong_name_says_where_it_stands(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPFW_PLUGINS", "capfw,capfw-onne")
    with pytest.raises(PluginError, match='CAPFW_PLUGINS: no plugin is called "capfw-onne"') as caught:
        Registry.discover()
    assert 'Did you mean "capfw-one"?' in str(caught.value)


def test_command_line_leaves_out(two: Any) -> None:
    listed = two.plugins("--no-plugin", "capfw-two", "--no-plugin", "capfw_one")

    assert (listed["capfw-one"]["state"], listed["capfw-two"]["state"]) == ("skipped", "skipped")
    assert (listed["capfw-two"]["kinds"], listed["capfw-two"]["components"]) == ([], [])

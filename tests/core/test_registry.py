"""Finding plugins: in this process, and as installed packages, sound and broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from capfw.core.errors import CapfwError, PluginError
from capfw.core.protocols import KINDS, Component, EncoderConfig, hookimpl
from capfw.core.registry import PluginStatus, Registry

GOOD = "\n@hookimpl\ndef register_encoders():\n    return [made()]\n"


def status(registry: Registry, distribution: str) -> PluginStatus:
    [found] = [plugin for plugin in registry.plugins if plugin.distribution == distribution]
    return found


def test_registry_has_only_what_it_was_given(toys: ModuleType) -> None:
    registry = Registry([toys.Toys()])

    assert {kind: [c.name for c in registry.components(kind)] for kind in KINDS} == {
        "encoder": ["eye"],
        "mapper": ["any-map", "pooled-map"],
        "decoder": ["voice"],
        "metric": ["length"],
        "dataset": ["folder"],
        "importer": [],
        "objective": ["cross-entropy", "reward"],
        "context": ["table"],
        "logger": [],
        "exporter": [],
    }
    assert Registry().components("encoder") == ()


def test_unknown_name_lists_the_registered_and_the_nearest(toys: ModuleType) -> None:
    with pytest.raises(CapfwError) as caught:
        Registry([toys.Toys()]).component("mapper", "poold-map")

    assert caught.value.what == 'no mapper is called "poold-map".'
    assert "Registered: any-map, pooled-map." in caught.value.fix
    assert 'Did you mean "pooled-map"?' in caught.value.fix
    assert "`capfw plugins`" in caught.value.fix
    assert caught.value.exit_code == 2


def test_with_plugins_adds_and_leaves_the_original_alone(toys: ModuleType) -> None:
    class More:
        @hookimpl
        def register_encoders(self) -> list[Component]:
            return [toys.component("ear", toys.EyeConfig)]

    first = Registry([toys.Toys()])
    second = first.with_plugins(More())

    assert [c.name for c in second.components("encoder")] == ["ear", "eye"]
    assert [c.name for c in first.components("encoder")] == ["eye"]


def test_run_hooks_reach_every_plugin(toys: ModuleType) -> None:
    heard = []

    class Listener:
        @hookimpl
        def noticed(self, event: object) -> None:
            heard.append(event)

    for _, hooks in Registry([toys.Toys()]).with_plugins(Listener()).hooks:
        hooks.noticed(event="hello")

    assert heard == ["hello"]


def test_installed_package_is_found(install: Callable[..., Path]) -> None:
    install("capfw-third", GOOD)

    registry = Registry.discover()

    assert registry.component("encoder", "third-encoder").summary == "An encoder."
    assert status(registry, "capfw-third") == PluginStatus(
        "capfw-third-plugin", "capfw-third", "1.2", "ok", ("encoder",), ("encoder third-encoder",), ""
    )


# Names each fault with the body of the package and the text of its cause. Every body is a module that an entry point names.
BROKEN = {
    "raises": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "exits": ("raise SystemExit(3)", "SystemExit"),
    "lacks-library": ("import a_library_nobody_has", "a_library_nobody_has"),
    "syntax": ("def (", "SyntaxError"),
    "misspelt": ("@hookimpl\ndef register_encoder():\n    return []", 'Did you mean "register_encoders"'),
    "signature": ("@hookimpl\ndef register_encoders(surprise):\n    return []", "surprise"),
    "register-raises": ("@hookimpl\ndef register_encoders():\n    raise ValueError('odd')", "ValueError: odd"),
    "returns-none": ("@hookimpl\ndef register_encoders():\n    pass", "None, not a list of Component"),
    "returns-nonsense": ("@hookimpl\ndef register_encoders():\n    return ['eye']", "not a list of Component"),
    "unmarked": ("def register_encoders():\n    return [made()]", "@hookimpl"),
    "no-hooks": ("", "implements no hook"),
    "bad-name": ("@hookimpl\ndef register_encoders():\n    return [made('Big_Eye')]", "kebab-case"),
    "bad-target": (
        "@hookimpl\ndef register_encoders():\n    return [made(target='nowhere')]",
        '"package.module:Class"',
    ),
    "bad-config": (
        "@hookimpl\ndef register_encoders():\n    return [made(config=dict)]",
        "config must be a subclass of EncoderConfig",
    ),
    "bad-example": ("@hookimpl\ndef register_encoders():\n    return [made(example={})]", "example must be"),
    "bad-revision": ("@hookimpl\ndef register_encoders():\n    return [made(revision='2')]", "revision must be"),
    "other-kind": ("@hookimpl\ndef register_metrics():\n    return [made()]", "subclass of MetricConfig, not Config"),
    "other-api": ("capfw_api = 99\n" + GOOD, "99"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_package_is_reported_and_stops_only_what_needs_it(
    case: str, install: Callable[..., Path], toys: ModuleType
) -> None:
    body, cause = BROKEN[case]
    install(f"capfw-{case}", body)
    install("capfw-sound", GOOD, name="sound-encoder")

    registry = Registry.discover()
    broken = status(registry, f"capfw-{case}")

    assert (broken.state, broken.version, broken.components) == ("broken", "1.2", ())
    assert cause in broken.cause
    assert registry.component("encoder", "sound-encoder").name == "sound-encoder"
    with pytest.raises(PluginError) as caught:  # it may have been in the broken one, so that is said
        registry.component("encoder", "third-encoder")
    assert f"capfw-{case} 1.2" in caught.value.fix
    assert broken.cause in caught.value.fix


def test_all_broken_packages_at_once_leave_the_sound_one_working(install: Callable[..., Path]) -> None:
    for case, (body, _) in BROKEN.items():
        install(f"capfw-{case}", body)
    install("capfw-sound", GOOD, name="sound-encoder")

    registry = Registry.discover()

    assert registry.component("encoder", "sound-encoder")
    broken = {plugin.distribution for plugin in registry.plugins if plugin.state == "broken"}
    assert broken == {f"capfw-{case}" for case in BROKEN}


def test_config_may_not_have_a_name_option(toys: ModuleType) -> None:
    class Named(EncoderConfig):
        name: str = "x"

    class Plugin:
        @hookimpl
        def register_encoders(self) -> list[Component]:
            return [toys.component("eye", Named)]

    [found] = Registry([Plugin()]).plugins

    assert (found.state, 'a field "name"' in found.cause) == ("broken", True)


def test_two_packages_with_one_name_clash_only_when_it_is_asked_for(install: Callable[..., Path]) -> None:
    install("capfw-one", GOOD, name="taken")
    install("capfw-two", GOOD, name="taken")
    install("capfw-three", GOOD, name="free")

    registry = Registry.discover()

    assert registry.component("encoder", "free").name == "free"
    assert "taken" not in [c.name for c in registry.components("encoder")]
    for distribution in ("capfw-one", "capfw-two"):
        assert '"taken"' in status(registry, distribution).cause
    with pytest.raises(PluginError) as caught:
        registry.component("encoder", "taken")
    assert "capfw-one 1.2" in caught.value.what
    assert "capfw-two 1.2" in caught.value.what


def test_two_entry_points_for_one_module_keep_its_hooks(install: Callable[..., Path]) -> None:
    site = install("capfw-twice", GOOD)
    points = site / "capfw_twice-1.2.dist-info" / "entry_points.txt"
    points.write_text("[capfw]\na = capfw_twice\nb = capfw_twice\n", encoding="utf-8")

    registry = Registry.discover()

    assert registry.component("encoder", "third-encoder")
    assert registry.with_plugins().component("encoder", "third-encoder")
    assert [p.state for p in registry.plugins if p.distribution == "capfw-twice"] == ["ok", "broken"]


@pytest.mark.parametrize("chosen", ["capfw-one", "capfw-one-plugin"])
def test_environment_chooses_what_loads(
    chosen: str, install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("capfw-one", GOOD, name="one")
    install("capfw-two", "raise RuntimeError('must not be imported')", name="two")
    monkeypatch.setenv("CAPFW_PLUGINS", f" {chosen} ,")

    registry = Registry.discover()

    assert [c.name for c in registry.components("encoder")] == ["one"]
    assert status(registry, "capfw-two").state == "skipped"
    with pytest.raises(PluginError) as caught:
        registry.component("encoder", "two")
    assert "capfw-two 1.2 was left out" in caught.value.fix


def test_arguments_choose_before_the_environment(install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    install("capfw-one", GOOD, name="one")
    install("capfw-two", GOOD, name="two")
    monkeypatch.setenv("CAPFW_PLUGINS", "capfw-one")

    assert [c.name for c in Registry.discover(only=["capfw-two"]).components("encoder")] == ["two"]
    names = [
        c.name for c in Registry.discover(only=["capfw-one", "capfw-two"], skip=["capfw-one"]).components("encoder")
    ]
    assert names == ["two"]


def test_a_name_that_is_no_plugin_is_refused(install: Callable[..., Path]) -> None:
    install("capfw-one", GOOD)

    with pytest.raises(PluginError, match='no plugin is called "capfw-onne"') as caught:
        Registry.discover(skip=["capfw-onne"])
    assert 'Did you mean "capfw-one"?' in caught.value.fix


def test_what_a_plugin_prints_stays_out_of_results(
    install: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    install("capfw-chatty", "print('hello from the plugin')\n" + GOOD)

    assert Registry.discover().component("encoder", "third-encoder")

    assert capsys.readouterr().out == ""


def test_missing_class_behind_a_target_names_it(toys: ModuleType) -> None:
    with pytest.raises(PluginError, match=r"cannot load toys\.model:Toy"):
        Registry([toys.Toys()]).component("encoder", "eye").load()


def test_every_built_in_comes_in_through_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CAPFW_PLUGINS", raising=False)
    built_in = [plugin for plugin in Registry.discover().plugins if plugin.distribution == "capfw"]

    assert [plugin for plugin in built_in if plugin.state != "ok" or plugin.cause] == []
    assert {"encoder clip", "mapper mlp", "decoder gpt2", "dataset shapes"} <= {
        n for p in built_in for n in p.components
    }

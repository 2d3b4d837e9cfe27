"""`capfw plugins` names the cause of a plugin that cannot be used; the plugin stops nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from capfw.core.errors import PluginError
from capfw.core.protocols import Component, EncoderConfig, hookimpl
from capfw.core.registry import PluginStatus, Registry
from capfw.core.spec.describe import find

SOUND = "@hookimpl\ndef register_encoders():\n    return [made({names})]\n"
HOOK = "@hookimpl\ndef register_encoders():\n    "


def status(name: str, registry: Registry | None = None) -> PluginStatus:
    [found] = [plugin for plugin in (registry or Registry.discover()).plugins if plugin.name == name]
    return found


@pytest.mark.parametrize(
    ("body", "entry_point", "cause"),
    [
        (SOUND, "capfw_x:plugins", 'its entry point names capfw_x:plugins, but capfw_x has no plugins'),
        ("plugin = 1", "capfw_x:plugni", 'has no plugni. Did you mean "plugin"?'),
        (SOUND, "not a module", 'its entry point "not a module" is not "package.module"'),
        (SOUND, "capfw_x.part", "names the module capfw_x.part, but there is no capfw_x.part"),
        ("import capfw_x.part", None, "its own module capfw_x.part is missing"),
        ("import json.nothing", None, 'it needs json.nothing, which the installed library "json" does not have'),
        ("from capfw.core.protocols.later import New", None, "it needs capfw.core.protocols.later, which capfw"),
        ("class Stop(BaseException):\n    pass\nraise Stop", None, "importing capfw_x failed: Stop"),
        ("class E(Exception):\n    def __str__(self):\n        raise self\nraise E", None, "importing capfw_x failed: E"),
        ("@hookimpl\nasync def run_started(event):\n    pass", None, "run_started is a wrapper or async"),
        ("@hookimpl(wrapper=True)\ndef run_ended(event):\n    yield", None, "run_ended is a wrapper or async"),
        ("capfw_api = '1'\n" + SOUND, None, "its capfw_api is '1', not a whole number"),
        ("capfw_api = 0\n" + SOUND, None, "upgrade the plugin"),
        ("nothing = None", "capfw_x:nothing", "it implements no hook"),
        (HOOK + "return [made('a'), made('a')]", None, "returned a more than once"),
        (HOOK + "return [made(3)]", None, "name must be a string, not 3"),
        (HOOK + "return [made(summary=None)]", None, "summary must be a string, not None"),
        (HOOK + "raise SystemExit", None, "register_encoders() raised SystemExit"),
        (
            "class Odd(Config):\n    def emitted_features(self):\n        return 'patches'\n"
            + HOOK + "return [made(config=Odd, example=Odd())]",
            None,
            'emitted_features() must be "pooled", "tokens" or None',
        ),
        (
            "class Odd(Config):\n    def emitted_features(self):\n        raise KeyError('odd')\n"
            + HOOK + "return [made(config=Odd, example=Odd())]",
            None,
            "its example cannot be used: KeyError: 'odd' (capfw_x.py, line",
        ),
        (
            "class Fog(MetricConfig):\n    def lower_is_better(self):\n        return ('fog',)\n"
            "@hookimpl\ndef register_metrics():\n    return [made(config=Fog, example=Fog())]",
            None,
            "lower_is_better() names fog, which score_names() does not",
        ),
    ],
)  # fmt: skip
def test_cause(here: Any, preamble: str, body: str, entry_point: str | None, cause: str) -> None:
    here.install("capfw-x", preamble + body.replace("{names}", ""), entry_point=entry_point)
    here.install("capfw-sound", preamble + SOUND.format(names="'sound'"))

    registry = Registry.discover()

    assert status("capfw-x", registry).state == "broken"
    assert cause in status("capfw-x", registry).cause
    assert registry.component("encoder", "sound")


def test_keyboard_interrupt_is_the_users_and_passes(here: Any) -> None:
    here.install("capfw-x", "raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt):
        Registry.discover()


def test_what_a_plugin_prints_goes_to_stderr(here: Any, preamble: str, capsys: pytest.CaptureFixture[str]) -> None:
    here.install("capfw-x", preamble + "print('hello')\n" + HOOK + "print('again')\n    return [made()]")

    assert Registry.discover().component("encoder", "eye")
    assert capsys.readouterr() == ("", "hello\nagain\n")


def test_one_name_in_two_packages_takes_nothing_else_away(here: Any, preamble: str) -> None:
    here.install("capfw-one", preamble + HOOK + "return [made('taken'), made('first')]")
    here.install("capfw-two", preamble + HOOK + "return [made('taken'), made('second')]")

    registry = Registry.discover()

    for name, own in (("capfw-one", "encoder first"), ("capfw-two", "encoder second")):
        found = status(name, registry)
        assert (found.state, found.kinds, found.components) == ("clash", ("encoder",), (own,))
        assert 'the encoder name "taken" is claimed by plugin "capfw-one" of capfw-one 1.2 and plugin' in found.cause
        assert '"capfw-two" of capfw-two 1.2' in found.cause
        assert registry.component("encoder", own.split()[1])
    with pytest.raises(PluginError) as caught:
        registry.component("encoder", "taken")
    assert "`capfw --no-plugin capfw-one ...` or `capfw --no-plugin capfw-two ...`" in str(caught.value)
    with pytest.raises(PluginError) as looked_up:
        find(registry, "taken")
    assert str(looked_up.value).count('the encoder name "taken" is claimed by plugin "capfw-one"') == 1
    assert Registry.discover(skip=["capfw-two"]).component("encoder", "taken")


def test_malformed_metadata_of_a_package_hides_no_other(here: Any, preamble: str) -> None:
    here.install("capfw-x", preamble + SOUND.format(names="'lost'"))
    here.install("capfw-sound", preamble + SOUND.format(names="'sound'"))
    here.install("stranger", "")
    (here.folder / "capfw_x-1.2.dist-info" / "entry_points.txt").write_text("[capfw]\nno equals sign\n")
    (here.folder / "stranger-1.2.dist-info" / "entry_points.txt").write_text("[console_scripts]\nnor here\n")

    registry = Registry.discover()

    assert registry.component("encoder", "sound")
    assert "its entry_points.txt cannot be read" in status("capfw-x", registry).cause
    assert "stranger" not in {plugin.name for plugin in registry.plugins}


class Config(EncoderConfig):
    pass


@pytest.mark.parametrize(
    ("module", "target", "says"),
    [
        ("raise OSError('no driver')", "capfw_heavy:Eye", "cannot load capfw_heavy:Eye: OSError: no driver"),
        ("import a_library_nobody_has", "capfw_heavy:Eye", "(pip install a_library_nobody_has)"),
        ("Eye = 3", "capfw_heavy:Eye", "capfw_heavy:Eye is not a class"),
        ("", "capfw_heavy:Eye", "has no attribute 'Eye'"),
    ],
)
def test_heavy_half_that_does_not_load_names_its_component(here: Any, module: str, target: str, says: str) -> None:
    here.install("capfw-heavy", module)

    class Plugin:
        @hookimpl
        def register_encoders(self) -> list[Component]:
            return [Component("eye", Config, target, "An encoder.", Config())]

    with pytest.raises(PluginError) as caught:
        Registry([Plugin()]).component("encoder", "eye").load()
    assert 'component "eye"' in str(caught.value)
    assert says in str(caught.value)

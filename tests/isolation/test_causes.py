"""What is said of a plugin that cannot be used, and that it stops nothing else."""

from __future__ import annotations

import io
import signal
import sys
import threading
import time
from typing import Any

import pytest

from capfw.core.describe import find
from capfw.core.errors import PluginError
from capfw.core.loading import stdout_aside, time_limit
from capfw.core.protocols import Component, ComponentConfig, hookimpl
from capfw.core.registry import PluginStatus, Registry

SOUND = "@hookimpl\ndef register_encoders():\n    return [made({names})]\n"
HOOK = "@hookimpl\ndef register_encoders():\n    "


def status(name: str, registry: Registry | None = None) -> PluginStatus:
    [found] = [plugin for plugin in (registry or Registry.discover()).plugins if plugin.name == name]
    return found


@pytest.mark.parametrize(
    ("body", "entry_point", "cause"),
    [
        (SOUND, "capfw_x:plugins", 'its entry point names capfw_x:plugins, but capfw_x has no plugins'),
        ("plugin = 1", "capfw_x:plugni", 'has no plugni; did you mean "plugin"?'),
        (SOUND, "not a module", 'its entry point "not a module" is not "package.module"'),
        (SOUND, "capfw_x.part", "names the module capfw_x.part, but there is no capfw_x.part"),
        ("import capfw_x.part", None, "its own module capfw_x.part is not there"),
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
            'its features must be "pooled", "tokens" or None',
        ),
        (
            "class Odd(Config):\n    def score_names(self):\n        raise KeyError('odd')\n"
            + HOOK + "return [made(config=Odd, example=Odd())]",
            None,
            "its example cannot be used: KeyError: 'odd' (capfw_x.py, line",
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


def test_hook_that_hangs_is_stopped(here: Any, preamble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        "import time\n"
        + HOOK
        + "while True:\n        try:\n            time.sleep(9)\n        except:\n            flag = 1\n"
    )
    here.install(
        "capfw-x",
        preamble + body.replace("flag = 1", "if globals().setdefault('n', []).append(1) or len(n) > 1: raise"),
    )
    monkeypatch.setenv("CAPFW_IMPORT_SECONDS", "1")
    before = signal.getsignal(signal.SIGALRM)

    # The first alarm is lost in the plugin's bare `except`, the second is not.
    assert "register_encoders() took longer than 1 s" in status("capfw-x").cause
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_alarm_that_rings_at_the_very_end_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    before, switch = signal.getsignal(signal.SIGALRM), signal.setitimer
    waits = iter([0.3])

    def late(which: int, seconds: float, interval: float = 0.0) -> object:
        if seconds == 0:
            time.sleep(next(waits, 0))
        return switch(which, seconds, interval)

    monkeypatch.setattr("signal.setitimer", late)
    with pytest.raises(PluginError, match=r"x took longer than 0\.1 s"), time_limit("x", 0.1):
        pass

    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_limit_must_be_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("soon", "0", "inf", "nan", "-1"):
        monkeypatch.setenv("CAPFW_IMPORT_SECONDS", wrong)
        with pytest.raises(PluginError, match=rf'CAPFW_IMPORT_SECONDS: "{wrong}" is not a number of seconds'):
            Registry.discover()


def test_off_the_main_thread_a_notice_names_the_plugin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("capfw.core.loading._NOTICE_SECONDS", 0.05)

    def slow() -> None:
        with time_limit('importing plugin "x"', 0.1):
            time.sleep(0.4)

    thread = threading.Thread(target=slow)
    thread.start()
    thread.join()

    assert capsys.readouterr().err.count('importing plugin "x" is taking long') == 1


def test_threads_that_load_plugins_leave_stdout_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", before := io.StringIO())
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))

    def second() -> None:
        first_is_in.wait()
        with stdout_aside():
            second_is_in.set()
            first_is_out.wait()

    thread = threading.Thread(target=second)
    thread.start()
    with stdout_aside():
        first_is_in.set()
        second_is_in.wait()
    assert sys.stdout is sys.stderr
    first_is_out.set()
    thread.join()

    assert sys.stdout is before


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


class Config(ComponentConfig):
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

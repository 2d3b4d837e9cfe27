"""The code version of a component: which edits change it, which do not, and what a release declares in its place."""

from __future__ import annotations

import json
import linecache
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from capfw.core.errors import PluginError
from capfw.core.protocols import Component, ComponentConfig
from capfw.core.registry import Registry
from capfw.core.registry.code_version import changed_code, code_of, code_version
from capfw.core.spec import load_spec

ROOT = Path(__file__).resolve().parents[2]
ENCODE = "class Eye:\n    def encode(self, pixels):\n        return pixels * 2\n"
TREE = {
    "__init__.py": "from .eyes.near import NearConfig\n",
    "eyes/__init__.py": "",
    "eyes/near/__init__.py": "class NearConfig:\n    pass\n",
    "eyes/near/model.py": "from ...libraries.lens import bend\nfrom ...scale import SCALE\n" + ENCODE,
    "eyes/near/weights.py": "NAME = 'near'\n",
    "eyes/near/inner/__init__.py": "",
    "eyes/far/__init__.py": "",
    "eyes/far/model.py": ENCODE,
    "libraries/__init__.py": "",
    "libraries/lens/__init__.py": "from .bending import bend\n",
    "libraries/lens/bending.py": "from .. import glass\ndef bend(x):\n    return x\n",
    "libraries/lens/tables.py": "TABLE = (1, 2)\n",
    "libraries/glass.py": "INDEX = 1.5\n",
    "libraries/mirror.py": "FLAT = True\n",
    "scale.py": "SCALE = 3\n",
}


def component(target: str, **changes: object) -> Component:
    made = Component(name="near", config=ComponentConfig, target=target, summary="", example=ComponentConfig())
    return replace(made, **changes)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture
def package(site: Path) -> Iterator[Path]:
    """A package of two encoders and modules that they share, importable, and installed by nobody."""
    write(site / "toy_eyes", TREE)
    yield site / "toy_eyes"
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy_eyes"]:
        del sys.modules[name]


NEAR = "toy_eyes.eyes.near.model:Eye"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("eyes/near/model.py", TREE["eyes/near/model.py"].replace("* 2", "* 3")),
        ("eyes/near/weights.py", "NAME = 'nearer'\n"),
        ("eyes/near/added.py", "NEW = 1\n"),
        ("libraries/lens/bending.py", TREE["libraries/lens/bending.py"].replace("return x", "return -x")),
        ("libraries/lens/tables.py", "TABLE = (1, 3)\n"),
        ("libraries/glass.py", "INDEX = 1.6\n"),
        ("scale.py", "SCALE = 4\n"),
    ],
)
def test_edit_of_the_component_or_of_what_it_imports_changes_it(package: Path, file: str, text: str) -> None:
    before = code_version(component(NEAR))

    (package / file).write_text(text, encoding="utf-8")

    assert code_version(component(NEAR)) != before


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("eyes/near/model.py", "# A comment.\n" + TREE["eyes/near/model.py"]),
        ("eyes/near/model.py", '"""A docstring."""\n' + TREE["eyes/near/model.py"].replace("pixels * 2", "(pixels*2)")),
        ("eyes/near/__init__.py", 'class NearConfig:\n    """Options."""\n'),
        ("eyes/near/inner/__init__.py", "OTHER = 1\n"),
        ("eyes/far/model.py", ENCODE.replace("* 2", "* 3")),
        ("libraries/mirror.py", "FLAT = False\n"),
        ("__init__.py", "from .eyes import far\n"),
    ],
)
def test_edit_that_is_no_arithmetic_of_the_component_leaves_it(package: Path, file: str, text: str) -> None:
    before = code_version(component(NEAR))

    (package / file).write_text(text, encoding="utf-8")

    assert code_version(component(NEAR)) == before


def test_revision_counts_in_a_release_alone(package: Path) -> None:
    assert code_version(component(NEAR, revision=2)) == code_version(component(NEAR))


def test_nothing_is_imported(package: Path) -> None:
    write(package, {"eyes/near/model.py": "raise RuntimeError\n", "libraries/lens/__init__.py": "raise RuntimeError\n"})

    assert code_version(component(NEAR)).startswith("code ")
    assert not [name for name in sys.modules if name.startswith("toy_eyes")]


def test_package_may_lie_anywhere(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_version(component(NEAR))

    package.parent.rename(tmp_path / "moved")
    monkeypatch.syspath_prepend(str(tmp_path / "moved"))

    assert code_version(component(NEAR)) == before


def test_single_module_counts_alone(site: Path) -> None:
    write(site, {"toy_single.py": ENCODE, "toy_neighbour.py": "X = 1\n"})
    before = code_version(component("toy_single:Eye"))

    write(site, {"toy_neighbour.py": "X = 2\n"})
    assert code_version(component("toy_single:Eye")) == before

    write(site, {"toy_single.py": ENCODE.replace("* 2", "* 3")})
    assert code_version(component("toy_single:Eye")) != before


def test_source_that_is_no_python_counts_by_its_bytes(package: Path) -> None:
    write(package, {"eyes/near/old.py": "print 'a'\n"})
    before = code_version(component(NEAR))

    write(package, {"eyes/near/old.py": "print 'b'\n"})

    assert code_version(component(NEAR)) != before


def test_source_that_cannot_be_read_is_named(package: Path) -> None:
    (package / "eyes/near/gone.py").symlink_to(package / "nowhere.py")

    with pytest.raises(PluginError, match=r"gone\.py: this source file of a component cannot be read"):
        code_version(component(NEAR))


@pytest.fixture
def installed(package: Path) -> Callable[[str | None], None]:
    """installed(direct_url): the toy package as an installer leaves it, from the index (None) or from elsewhere."""

    def record(direct_url: str | None) -> None:
        info = package.parent / "toy_eyes-2.0.dist-info"
        write(info, {"METADATA": "Metadata-Version: 2.1\nName: Toy_Eyes\nVersion: 2.0\n"})
        write(info, {"RECORD": "".join(f"toy_eyes/{name},sha256=x,1\n" for name in TREE)})
        if direct_url is not None:
            write(info, {"direct_url.json": direct_url})

    return record


@pytest.mark.parametrize("archive", [None, {"url": "file:///toy.whl", "archive_info": {}}])
def test_release_has_the_revision_that_it_declares(
    installed: Callable[[str | None], None], package: Path, archive: object
) -> None:
    installed(json.dumps(archive) if archive else None)

    assert code_version(component(NEAR)) == "toy-eyes revision 1"
    assert code_version(component(NEAR, revision=2)) == "toy-eyes revision 2"


@pytest.mark.parametrize(
    "direct_url",
    [
        '{"url": "file:///toy", "dir_info": {"editable": true}}',
        '{"url": "file:///toy", "dir_info": {}}',
        '{"url": "https://example.org/toy", "vcs_info": {"vcs": "git", "commit_id": "abc"}}',
        "not JSON",
    ],
)
def test_install_that_is_no_release_has_a_hash(
    installed: Callable[[str | None], None], package: Path, direct_url: str
) -> None:
    before = code_version(component(NEAR))

    installed(direct_url)

    assert code_version(component(NEAR)) == before


def test_checkout_that_hides_a_release_has_a_hash(
    installed: Callable[[str | None], None], package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(None)
    write(tmp_path / "checkout" / "toy_eyes", TREE)
    monkeypatch.syspath_prepend(str(tmp_path / "checkout"))

    assert code_version(component(NEAR)).startswith("code ")


def test_modules_that_plugins_of_capfw_share_count_and_core_does_not(tmp_path: Path) -> None:
    """In a copy of the package with a plugin of its own, as a checkout on PYTHONPATH."""
    tree = tmp_path / "capfw"
    for name in ("commands", "core", "plugins"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "__init__.py", tree)
    imports = "from ....core.protocols import Component\nfrom ...libraries import lens\n"
    write(tree, {"plugins/encoders/toy/__init__.py": "", "plugins/encoders/toy/model.py": imports + ENCODE})
    write(tree, {"plugins/libraries/__init__.py": "", "plugins/libraries/lens.py": "INDEX = 1\n"})
    write(tmp_path, {"toy_third.py": "from capfw.plugins.libraries import lens\n" + ENCODE})
    targets = ("capfw.plugins.encoders.toy.model:Eye", "toy_third:Eye")
    code = (
        "from capfw.core.registry import code_version\nfrom capfw.core.protocols import Component, ComponentConfig\n"
        f"for target in {targets}:\n"
        "    print(code_version(Component('toy', ComponentConfig, target, '', ComponentConfig())))\n"
    )

    def versions() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.splitlines()

    before = versions()
    with (tree / "core/protocols/__init__.py").open("a", encoding="utf-8") as file:
        file.write("ADDED = 1\n")
    after_core = versions()
    write(tree, {"plugins/libraries/lens.py": "INDEX = 2\n"})
    after_library = versions()

    assert before == after_core
    assert [version.partition(" ")[0] for version in before] == ["code", "code"]
    assert [old == new for old, new in zip(before, after_library, strict=True)] == [False, False]


SCRIPT = """
from capfw.core.registry.code_version import code_version
from capfw.core.protocols import Component, ComponentConfig

class Eye:
    factor = 2

print(code_version(Component("toy", ComponentConfig, "__main__:Eye", "", ComponentConfig())))
"""


def test_script_has_a_hash_and_standard_input_none(tmp_path: Path) -> None:
    def printed(*arguments: str, text: str = "") -> str:
        done = subprocess.run(
            [sys.executable, *arguments], input=text, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout.strip()

    write(tmp_path, {"one.py": SCRIPT, "same.py": "# A comment.\n" + SCRIPT, "other.py": SCRIPT.replace("= 2", "= 3")})
    one, same, other = (printed(str(tmp_path / f"{name}.py")) for name in ("one", "same", "other"))

    assert one.startswith("code ")
    assert (one == same, one == other) == (True, False)
    assert printed("-", text=SCRIPT) == "unknown"


def test_class_of_a_notebook_has_the_hash_of_its_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook keeps the source of a cell in `linecache`, and its module has neither a file nor a spec."""

    def version(text: str) -> str:
        cell = ModuleType("toy_notebook")
        monkeypatch.setitem(sys.modules, "toy_notebook", cell)
        monkeypatch.setitem(linecache.cache, "<cell 1>", (len(text), None, text.splitlines(keepends=True), "<cell 1>"))
        exec(compile(text, "<cell 1>", "exec"), vars(cell))
        return code_version(component("toy_notebook:Eye"))

    assert version(ENCODE).startswith("code ")
    assert version(ENCODE) == version("\n# A comment.\n" + ENCODE)
    assert version(ENCODE) != version(ENCODE.replace("* 2", "* 3"))


def test_code_of_a_spec_names_every_component(built_in_spec: dict[str, object]) -> None:
    spec = load_spec(built_in_spec, registry=Registry.discover(only=["capfw"]))

    versions = code_of(spec.components)

    parts = ["dataset shapes", "encoder vit", "mapper linear", "decoder gpt2", "metric cider"]
    assert list(versions) == [*parts, "objective cross-entropy"]
    assert len(set(versions.values())) == len(versions)


@pytest.fixture
def built_in_spec(tmp_path: Path) -> dict[str, object]:
    return {
        "capfw": 1,
        "data": {"name": "shapes"},
        "encoder": {"name": "vit", "weights": "random", "features": "pooled"},
        "mapper": {"name": "linear"},
        "decoder": {"name": "gpt2", "weights": "random"},
        "metrics": [{"name": "cider"}],
        "run_dir": str(tmp_path / "run"),
    }


def test_changed_code_names_what_differs() -> None:
    recorded = {
        "encoder clip": "code a",
        "mapper mlp": "capfw revision 1",
        "decoder gpt2": "code c",
        "metric bleu": "x",
    }
    now = {"encoder clip": "code b", "mapper mlp": "capfw revision 1", "decoder gpt2": "capfw revision 1", "new": "y"}

    assert changed_code(recorded, now) == ["decoder gpt2", "encoder clip"]
    assert changed_code({}, now) == []

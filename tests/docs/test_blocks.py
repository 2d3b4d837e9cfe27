"""Every block of README.md and docs/*.md: Python and shell blocks run, in the order of the page; the rest at least parses.

A page is read by someone who types it in, so it is run that way: in one folder, from top to bottom. A block with a title
(```toml title="pyproject.toml") is a file, and is written. `# exit code 2` behind a command says how it ends, and a block
with title="output" holds lines of what the block before it prints.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from capfw.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELL = {"sh", "bash"}
LANGUAGES = SHELL | {"python", "json", "toml", "text"}
COMMANDS = ("capfw", "python", "python3", "pip", "make", "git", "cd", "pytest", "twine", "export")

# They install packages, publish, or run all the tests, these among them. They download, or need several GPUs or nodes.
# The published checkpoint and the parts that `capfw init` proposes need published weights. A server runs until Ctrl+C.
NOT_RUN = (
    "python -m pip install",
    "python -m venv",
    "conda",
    "docker",
    "make",
    "python -m build",
    "twine upload",
    "curl",
    "unzip",
    "tensorboard",
    "capfw export runs/birds",
    "lightly-studio",
    "wandb sync",
    "mlflow ui",
    "trackio show",
    "hf download",
    "torchrun --standalone --nproc_per_node 4",
    "torchrun --nnodes",
    "accelerate launch",
    "capfw import checkpoint coco_weights.pt",
    "capfw run photos.json",
    "capfw caption photos/ --run runs/photos",
    "capfw view runs/quickstart --port 8000",
)


@dataclass(frozen=True)
class Block:
    """A fenced block: the line it begins at, its language, its title, its text."""

    line: int
    language: str
    title: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    found = re.finditer(
        r"^```(\w*)(?: title=\"([^\"]*)\")?\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return [Block(page.read_text("utf-8")[: m.start()].count("\n") + 1, m[1], m[2] or "", m[3]) for m in found]


def commands_of(block: Block) -> list[str]:
    """The lines of a shell block, continued ones joined."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def exception_for(command: str) -> str | None:
    """The entry of NOT_RUN a command begins with, word by word."""
    words = shlex.split(command, comments=True)
    return next((entry for entry in NOT_RUN if words[: len(entry.split())] == entry.split()), None)


class Reader:
    """Does in one folder what a page says, and remembers what the last block printed."""

    def __init__(self, page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.page, self.folder = page, folder
        self.main = ModuleType("__main__")  # what the page's Python is, to those who look a class of it up
        self.printed = ""
        monkeypatch.setitem(sys.modules, "__main__", self.main)
        monkeypatch.syspath_prepend(str(folder))

    def do(self, block: Block) -> None:
        if block.title == "output":
            self._compare(block)
        elif block.title:
            file = self.folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            self.printed = self._run_python(block)
        elif block.language in SHELL:
            self.printed = "".join(self._run(command) for command in commands_of(block))

    def _run_python(self, block: Block) -> str:
        # As many line ends before it as on the page: an error then names the page's own line.
        code = compile("\n" * block.line + block.text, str(self.page), "exec")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, vars(self.main))
        return printed.getvalue()

    def _run(self, command: str) -> str:
        if exception_for(command):
            if command == "python -m pip install -e .":
                self._install_this_folder()
            return ""
        words, expected = shlex.split(command, comments=True), re.search(r"#.*\bexit code (\d)", command)
        is_plain = words[0] == "capfw" and not any(sign in command.split("#")[0] for sign in ("|", ">", "$", "`", "*"))
        code, printed = self._capfw(words[1:]) if is_plain else self._bash(command)
        assert code == int(expected[1] if expected else 0), f"{self.page.name}: {command}\nexit code {code}\n{printed}"
        return printed

    def _capfw(self, arguments: list[str]) -> tuple[int, str]:
        """The real command line, in this process: importing torch once, and not for every command."""
        result = CliRunner().invoke(main, arguments)
        return result.exit_code, result.output

    def _bash(self, command: str) -> tuple[int, str]:
        folder = self.folder / "bin"  # what is called python there is the one that runs the tests
        folder.mkdir(exist_ok=True)
        programs = {"python": "", "capfw": "-m capfw", "pytest": "-m pytest", "torchrun": "-m torch.distributed.run"}
        for name, module in programs.items():
            (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
            (folder / name).chmod(0o755)
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, check=False)
        return done.returncode, done.stdout + done.stderr

    def _install_this_folder(self) -> None:
        """Installs as `pip install -e .` does: puts the package on sys.path, and beside it its name and its entry points."""
        project = tomllib.loads((self.folder / "pyproject.toml").read_text("utf-8"))["project"]
        info = self.folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        groups = [
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
            for group, points in project["entry-points"].items()
        ]
        (info / "entry_points.txt").write_text("\n".join(groups), encoding="utf-8")

    def _compare(self, block: Block) -> None:
        shown = [line.strip() for line in block.text.splitlines() if line.strip() not in ("", "...")]
        printed = [line.strip() for line in self.printed.splitlines()]
        missing = [line for line in shown if line not in printed]
        assert not missing, f"{self.page.name}, line {block.line}: not printed: {missing}\n{self.printed}"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_runs_from_top_to_bottom(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(sys.modules)
    reader = Reader(page, folder, monkeypatch)
    for block in blocks_of(page):
        reader.do(block)
    for name in set(sys.modules) - before:  # modules the page itself wrote
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(folder)):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_says_its_language_and_no_command_hides_elsewhere(page: Path) -> None:
    text = page.read_text("utf-8")
    blocks = blocks_of(page)
    assert len(blocks) * 2 == len(re.findall(r"^\s*```", text, re.MULTILINE)), "a fence is indented or not closed"
    assert [b for b in blocks if b.language not in LANGUAGES] == []
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line.strip() for line in outside.splitlines() if line.startswith(("    ", "\t"))]
    lines += [line.strip() for b in blocks if b.language == "text" for line in b.text.splitlines()]
    assert [line for line in lines if re.match(rf"(\$ )?({'|'.join(COMMANDS)}) ", line)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_json_and_toml_blocks_parse(page: Path) -> None:
    for block in blocks_of(page):
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "toml":
            tomllib.loads(block.text)


def test_every_exception_is_used() -> None:
    shell = [block for page in PAGES for block in blocks_of(page) if block.language in SHELL]
    used = {exception_for(command) for block in shell for command in commands_of(block)}
    assert set(NOT_RUN) - used == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in _anchors(file), f"{page.name}: {target}"


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.lower())).strip("-") for heading in headings}

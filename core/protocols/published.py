"""Published weights: the files that a component reads, and one look-up for those that are not on this machine.

A component with the classmethod `published_weights` (see `ReadsPublishedWeights`) declares them. The engine asks every part
of a spec before it builds any, so that all missing weights are reported at once. No torch.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, TypeAlias

from ..errors import ComponentError, MissingWeights

Call: TypeAlias = Literal["prepare", "build", "restore"]
"""A call of the engine that reads weights: `Decoder.prepare`, the constructor of any component, `Restorable.restore`."""

_BUILD: frozenset[Call] = frozenset({"build"})
_INDEX = ".index.json"  # lists the shards of a large checkpoint


@dataclass(frozen=True)
class HubWeights:
    """Files in a repository of the Hugging Face hub.

    `option` names them, `title` is their name in messages. `files` holds the possible names of each file that is needed,
    the best name first; an index of shards stands for its shards. `others` are patterns of files that are downloaded with
    them. `read_by`: the calls that read them. `advice`: another way to get them, for the message.
    """

    option: str
    title: str
    repository: str
    files: tuple[tuple[str, ...], ...]
    others: tuple[str, ...] = ()
    read_by: frozenset[Call] = _BUILD
    advice: str = ""

    def __post_init__(self) -> None:
        """Raises `ComponentError` for a name that no repository can have, such as that of a folder without "./"."""
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # exported without __all__

        try:
            validate_repo_id(self.repository)
        except HFValidationError as err:
            raise ComponentError(
                f'no repository of the Hugging Face hub can have the name "{self.repository}".',
                option=self.option,
                fix='Name a repository ("owner/name"), or begin the path of a local file or folder with "./".',
            ) from err

    def paths(self) -> tuple[Path, ...] | None:
        """The path of each needed file in the cache; None when one is missing. It uses no network."""
        found = tuple(next(filter(None, map(self._cached, names)), None) for names in self.files)
        paths = tuple(path for path in found if path is not None)
        is_whole = len(paths) == len(found) and all(self._cached(s) for path in paths for s in _shards(path))
        return paths if is_whole else None

    def how_to_get(self) -> str:
        """The command that downloads them."""
        return f"hf download {self.repository}"

    def _cached(self, name: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.repository, name)
        return Path(found) if isinstance(found, str) else None


@dataclass(frozen=True)
class WeightsFile:
    """A published file that is not on the hub. A library downloads it from `url` to `file`; without `url`, the user does."""

    option: str
    title: str
    file: Path
    url: str | None = None
    read_by: frozenset[Call] = _BUILD
    advice: str = ""

    def paths(self) -> tuple[Path, ...] | None:
        """The path of the file; None when it is missing."""
        return (self.file,) if self.file.is_file() else None

    def how_to_get(self) -> str:
        """The command that downloads it; empty without `url`."""
        return f"curl -L -o {self.file} {self.url}" if self.url else ""


PublishedWeights: TypeAlias = HubWeights | WeightsFile


def fetch_weights(weights: Iterable[PublishedWeights], *, tell: Callable[[str], None] = lambda text: None) -> None:
    """Downloads the files of the hub that are not on this machine. Looks nothing up when all are here.

    One look-up asks every repository at once, before any download. Files with a `url` are only looked up.
    Raises `MissingWeights`, which names all that are missing, when one is out of reach or HF_HUB_OFFLINE is set.
    """
    missing = [each for each in weights if each.paths() is None]
    if not missing:
        return
    from huggingface_hub import is_offline_mode

    if is_offline_mode():
        raise missing_weights(dict.fromkeys(missing, ""), "and HF_HUB_OFFLINE is set")
    answers = _look_up(missing)
    names = {each: _chosen(each, answer) for each, answer in answers.items()}
    _raise_for({each: found for each, found in names.items() if isinstance(found, str)})
    wanted = {each: found for each, found in names.items() if not isinstance(found, str) and found}
    if wanted:
        tell(f"downloading {', '.join(dict.fromkeys(each.title for each in wanted))}")
    got: set[tuple[str, str]] = set()
    failed = {each: reason for each, files in wanted.items() if (reason := _download(each, files, got))}
    _raise_for(failed)


def missing_weights(reasons: Mapping[PublishedWeights, str], why: str) -> MissingWeights:
    """The error that names all missing weights. `reasons` may add a reason to each; `why` holds for all."""
    weights = list(reasons)
    places = list(dict.fromkeys(each.option for each in weights))
    names = list(dict.fromkeys(each.title for each in weights))
    verb = "are" if len(names) > 1 or len(weights) > 1 else "is"
    what = f"{_joined(names)} {verb} not on this machine, {why}."
    offline = (
        "Unset HF_HUB_OFFLINE to download on this machine."
        if "HF_HUB_OFFLINE" in why
        else "Without a network, set HF_HUB_OFFLINE=1: then nothing is looked up."
    )
    lines = [offline, *_commands(reasons), *dict.fromkeys(each.advice for each in weights if each.advice)]
    if any(isinstance(each, HubWeights) for each in weights):
        lines.append('Or name a local file or folder ("./folder") in the spec.')
    error = MissingWeights(what, option=places[0] if len(places) == 1 else None, fix="\n".join(lines))
    if len(places) > 1 or places[0].startswith("/"):
        error.where = ", ".join(places)
    return error


def _joined(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _commands(reasons: Mapping[PublishedWeights, str]) -> list[str]:
    """The lines that say how to download, one command per repository, with the places that need it."""
    needed: dict[str, list[str]] = {}
    for each, reason in reasons.items():
        if command := each.how_to_get():
            needed.setdefault(command, []).append(f"{each.option}: {reason}" if reason else each.option)
    if not needed:
        return []
    from huggingface_hub.constants import HF_HUB_CACHE

    width = max(map(len, needed))
    is_hub = any(isinstance(each, HubWeights) for each in reasons)
    copy = f", and copy its cache (HF_HUB_CACHE there) to {HF_HUB_CACHE} here" if is_hub else ""
    commands = [f"  {command:<{width}}  # {', '.join(dict.fromkeys(where))}" for command, where in needed.items()]
    return [f"Run this on a machine with a network{copy}:", *commands]


def _raise_for(failed: Mapping[PublishedWeights, str]) -> None:
    if not failed:
        return
    reasons = set(failed.values())
    if len(reasons) == 1:
        raise missing_weights(dict.fromkeys(failed, ""), f"and {reasons.pop()}")
    raise missing_weights(failed, "and cannot be downloaded")


def _look_up(missing: Sequence[PublishedWeights]) -> dict[PublishedWeights, frozenset[str] | str]:
    """The files that each repository has, or the reason why they are out of reach: one request for each, all at once."""
    places = {each: each.repository if isinstance(each, HubWeights) else str(each.url) for each in missing}
    with ThreadPoolExecutor(8) as pool:
        asked = {place: pool.submit(_asked, each) for place, each in {p: w for w, p in places.items()}.items()}
        return {each: asked[place].result() for each, place in places.items()}


def _asked(weights: PublishedWeights) -> frozenset[str] | str:
    return _files_of(weights.repository) if isinstance(weights, HubWeights) else _reached(weights.url)


def _files_of(repository: str) -> frozenset[str] | str:
    from huggingface_hub import HfApi
    from huggingface_hub.constants import ENDPOINT, HF_HUB_ETAG_TIMEOUT
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        siblings = HfApi().model_info(repository, timeout=HF_HUB_ETAG_TIMEOUT).siblings or []
    except RepositoryNotFoundError:
        return "the hub has no such repository, or it is private (`hf auth login`)"
    except HfHubHTTPError as err:
        return f"{ENDPOINT} refuses them ({err.response.status_code})"
    except Exception as err:  # each HTTP library has its own exceptions for a network that is out of reach
        return f"{ENDPOINT} cannot be reached ({type(err).__name__})"
    return frozenset(sibling.rfilename for sibling in siblings)


def _reached(url: str | None) -> frozenset[str] | str:
    if url is None:
        return "they cannot be downloaded without asking their owner"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10):
            return frozenset()
    except (OSError, ValueError) as err:  # urllib's errors are OSErrors
        return f"{url} cannot be reached ({type(err).__name__})"


def _chosen(weights: PublishedWeights, there: frozenset[str] | str) -> list[str] | str:
    """The names of the files to download, or the reason why there are none."""
    if isinstance(there, str) or isinstance(weights, WeightsFile):
        return there if isinstance(there, str) else []
    chosen = []
    for names in weights.files:
        name = next((name for name in names if name in there), None)
        if name is None:
            return f"the repository has none of {', '.join(names)}"
        chosen.append(name)
        if name.endswith(_INDEX):
            stem, suffix = name.removesuffix(_INDEX).rsplit(".", 1)
            chosen += sorted(each for each in there if fnmatch(each, f"{stem}-*.{suffix}"))
    others = (name for name in sorted(there) if any(fnmatch(name, pattern) for pattern in weights.others))
    return list(dict.fromkeys([*chosen, *others]))


def _download(weights: PublishedWeights, names: Sequence[str], got: set[tuple[str, str]]) -> str:
    """Downloads the files that are not in `got`; returns the reason when that fails, else an empty text."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError

    assert isinstance(weights, HubWeights)
    try:
        for name in names:
            if (weights.repository, name) not in got:
                hf_hub_download(weights.repository, name)
                got.add((weights.repository, name))
    except GatedRepoError:
        return "the owner must give you access: ask on the page of the repository, then run `hf auth login`"
    except Exception as err:  # as in _files_of
        return f"the download failed ({type(err).__name__})"
    return ""


def _shards(path: Path) -> Iterable[str]:
    if not path.name.endswith(_INDEX):
        return ()
    return sorted(set(json.loads(path.read_text(encoding="utf-8")).get("weight_map", {}).values()))

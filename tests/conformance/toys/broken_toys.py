"""A broken plugin for each check but imports-light (`heavy_toys`), and the words that must say what was found."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import Field, field_serializer
from sound_toys import (
    BrightnessConfig,
    DiaryConfig,
    ElsewhereConfig,
    EyeConfig,
    FolderConfig,
    LengthConfig,
    MapConfig,
    OtherConfig,
    PooledMapConfig,
    SheetConfig,
    SumConfig,
    VoiceConfig,
    toy,
)

from capfw.core.protocols import Component, ComponentConfig, hookimpl


class BareConfig(EyeConfig):
    size: int = 3


class ShyConfig(EyeConfig):
    act: Callable[[int], int] | None = Field(None, description="JSON Schema has no words for a function.", exclude=True)


class ForgetfulConfig(EyeConfig):
    size: int = Field(3, description="A size.")

    @field_serializer("size")
    def _double(self, size: int) -> int:
        return 2 * size


class Plugin:
    """Registers one component; what kind it is, its class says."""

    def __init__(self, component: Component) -> None:
        self.component = component


class Encoders(Plugin):
    @hookimpl
    def register_encoders(self) -> list[Component]:
        return [self.component]


class Counting:
    def __init__(self) -> None:
        self.calls = 0

    @hookimpl
    def register_encoders(self) -> list[Component]:
        self.calls += 1
        return [toy("eye", EyeConfig, "Eye", summary=f"Registered {self.calls} times.")]


class Rolling:
    @hookimpl
    def register_encoders(self) -> list[Component]:
        random.random()
        return [toy("eye", EyeConfig, "Eye")]


class Mappers(Plugin):
    @hookimpl
    def register_mappers(self) -> list[Component]:
        return [self.component]


class Decoders(Plugin):
    @hookimpl
    def register_decoders(self) -> list[Component]:
        return [self.component]


class Metrics(Plugin):
    @hookimpl
    def register_metrics(self) -> list[Component]:
        return [self.component]


class Datasets(Plugin):
    @hookimpl
    def register_datasets(self) -> list[Component]:
        return [self.component]


class Importers(Plugin):
    @hookimpl
    def register_importers(self) -> list[Component]:
        return [self.component]


class Exporters(Plugin):
    @hookimpl
    def register_exporters(self) -> list[Component]:
        return [self.component]


class Loggers(Plugin):
    @hookimpl
    def register_loggers(self) -> list[Component]:
        return [self.component]


class Objectives(Plugin):
    @hookimpl
    def register_objectives(self) -> list[Component]:
        return [self.component]


class Contexts(Plugin):
    @hookimpl
    def register_contexts(self) -> list[Component]:
        return [self.component]


@dataclass(frozen=True)
class Broken:
    """A plugin with one component, and what is said of it."""

    plugin: object
    says: str


def eye(config: type[ComponentConfig] = EyeConfig, target: str = "Eye", **changes: object) -> Encoders:
    return Encoders(toy("eye", config, target, **changes))


_MODULES = {Encoders: "broken_encoders", Mappers: "broken_models", Decoders: "broken_models"}


def spoiled(plugin: type[Plugin], config: type[ComponentConfig], says: str, check: str) -> dict[str, Broken]:
    """By the name of the check: the class that is called after it, in the module of its kind."""
    module = _MODULES.get(plugin, "broken_surroundings")
    target = "".join(word.capitalize() for word in check.split("-"))
    return {check: Broken(plugin(toy("broken", config, f"{module}:{target}")), says)}


BROKEN: dict[str, Broken] = {
    "registers-the-same-twice": Broken(Counting(), "returned other components"),
    "registers-without-side-effects": Broken(Rolling(), "calling the hook changed random"),
    "has-summary": Broken(eye(summary=" "), "summary is empty"),
    "describes-options": Broken(eye(BareConfig), "no description for BareConfig.size"),
    "has-json-schema": Broken(eye(ShyConfig), "ShyConfig has no JSON Schema"),
    "survives-json": Broken(eye(ForgetfulConfig), "size=3) became"),
    "loads-target": Broken(eye(target="Ear"), "cannot load sound_models:Ear"),
    **spoiled(Encoders, EyeConfig, "asked the network for weights.example.org", "builds-offline"),
    **spoiled(Encoders, EyeConfig, "is no Encoder: it lacks fingerprint", "has-the-methods"),
    **spoiled(Encoders, EyeConfig, "building it seeds torch", "seeds-nothing"),
    **spoiled(Encoders, EyeConfig, "changed the environment variables", "leaves-settings-alone"),
    **spoiled(Encoders, EyeConfig, "(3, 1, 6) float64, but feature_shape says (3, 1, 6)", "features-as-declared"),
    **spoiled(Encoders, EyeConfig, "emitted_features() is 'pooled', but there are 4 tokens", "emits-what-it-says"),
    **spoiled(Encoders, EyeConfig, "other features for the same inputs", "encodes-the-same-twice"),
    **spoiled(Encoders, EyeConfig, "together than one by one", "encodes-image-by-image"),
    **spoiled(Encoders, EyeConfig, "features carry gradients", "is-frozen"),
    **spoiled(Encoders, EyeConfig, "the weight patches.weight, but no gradient reaches it", "encoder-can-be-tuned"),
    **spoiled(Encoders, EyeConfig, "an input is (3, 8, 8) float64, not float32", "inputs-of-one-shape"),
    **spoiled(Encoders, EyeConfig, "a very wide image raised ValueError: too wide", "transforms-any-image"),
    **spoiled(Encoders, EyeConfig, "no bytes at all raised UnidentifiedImageError", "refuses-bad-bytes"),
    **spoiled(Encoders, EyeConfig, "pickled, `transform` has ", "transform-pickles"),
    **spoiled(Encoders, EyeConfig, "called from several threads", "transforms-in-threads"),
    **spoiled(Encoders, EyeConfig, "its inputs differ from those of `transform` by", "transforms-batches"),
    **spoiled(
        Encoders, EyeConfig, "after another build with the same seed, the fingerprint is", "fingerprint-is-stable"
    ),
    **spoiled(Encoders, EyeConfig, "a change of the weight patches.bias", "fingerprint-covers-weights"),
    **spoiled(Encoders, EyeConfig, "with flip true inputs or features differ", "fingerprint-covers-options"),
    **spoiled(
        Mappers, MapConfig, "gave (3, 1, 64) float32, but prefix_length and embed_dim need", "prefix-as-declared"
    ),
    **spoiled(Mappers, PooledMapConfig, "but it was built for 4 tokens per image", "refuses-tokens"),
    **spoiled(Mappers, MapConfig, "another prefix the second time", "maps-the-same-twice"),
    **spoiled(Mappers, MapConfig, "together than one by one", "maps-image-by-image"),
    **spoiled(Mappers, MapConfig, "no gradient reaches forgotten.weight, forgotten.bias", "mapper-learns"),
    **spoiled(Mappers, MapConfig, "with the saved state gives another prefix", "mapper-is-saved-whole"),
    **spoiled(Decoders, VoiceConfig, "too long", "sizes-hold"),
    **spoiled(Decoders, VoiceConfig, "with end=False the ids are", "tokenizes-to-the-end"),
    **spoiled(Decoders, VoiceConfig, "came back as ['a red circle above a blue square <eos>'", "reads-its-own-tokens"),
    **spoiled(Decoders, VoiceConfig, "where the mask is False, it is 1.0000, not 0", "log-probs-as-declared"),
    **spoiled(Decoders, VoiceConfig, "with other padding", "log-probs-ignore-padding"),
    **spoiled(Decoders, VoiceConfig, "one by one", "log-probs-go-row-by-row"),
    **spoiled(Decoders, VoiceConfig, "but log_probs give", "weighted-nll-is-that-of-log-probs"),
    **spoiled(Decoders, VoiceConfig, "no gradient reaches some vectors of the prefix", "decoder-learns"),
    **spoiled(Decoders, VoiceConfig, "with the saved state gives other log-probabilities", "decoder-is-saved-whole"),
    **spoiled(Decoders, VoiceConfig, "tokenizes captions differently", "rebuilds-from-assets"),
    **spoiled(Decoders, VoiceConfig, "2 captions of 3 images are 3 rows, not 6", "generates-what-is-asked"),
    **spoiled(Decoders, VoiceConfig, "of the same tokens sum to", "log-probs-are-the-models"),
    **spoiled(Decoders, VoiceConfig, "with a cache it generates", "cache-changes-nothing"),
    **spoiled(Decoders, VoiceConfig, "together", "generates-image-by-image"),
    **spoiled(Decoders, VoiceConfig, "with others, but", "draws-from-its-seeds"),
    **spoiled(Decoders, VoiceConfig, "with texts three captions sum to", "log-probs-after-text"),
    **spoiled(Decoders, VoiceConfig, "three texts give", "generates-after-text"),
    **spoiled(Metrics, LengthConfig, "score_names() is length; the scores are letters", "scores-as-named"),
    **spoiled(Metrics, LengthConfig, "it leaves out length, which", "leaves-scores-out"),
    **spoiled(Metrics, LengthConfig, "length has values for ['image-7.jpg'", "scores-each-image"),
    **spoiled(Metrics, LengthConfig, "the sums give length 66.0; the corpus value is 22.0", "statistics-give-corpus"),
    **spoiled(Metrics, LengthConfig, "in another order the same images have another length", "scores-in-any-order"),
    **spoiled(Metrics, LengthConfig, "signature() is {'version': 1}", "has-a-signature"),
    **spoiled(Metrics, BrightnessConfig, "bytes, please", "reads-images"),
    **spoiled(Datasets, FolderConfig, "splits are ('train', 'val', 'validation')", "has-known-splits"),
    **spoiled(Datasets, FolderConfig, "2 ids occur more than once", "ids-are-unique"),
    **spoiled(Datasets, FolderConfig, "a second call of `samples`", "samples-in-one-order"),
    **spoiled(Datasets, FolderConfig, "has references ('a dark picture', ' ')", "references-are-captions"),
    **spoiled(Datasets, FolderConfig, "is a Handle without name, read or identity", "sources-are-read"),
    **spoiled(Datasets, FolderConfig, "image train-0 of train cannot be decoded", "images-decode"),
    **spoiled(Importers, ElsewhereConfig, "accepted a file of another project", "leaves-strangers-alone"),
    **spoiled(Objectives, SumConfig, "nll is per 'caption'", "losses-as-declared"),
    **spoiled(Objectives, SumConfig, "carry no gradients", "objective-reaches-the-model"),
    **spoiled(Objectives, SumConfig, "their losses one by one add up to", "objective-goes-row-by-row"),
    **spoiled(Objectives, SumConfig, "with other padding", "objective-ignores-padding"),
    **spoiled(Contexts, OtherConfig, "text() returned [None]", "context-gives-text"),
    **spoiled(Contexts, OtherConfig, "holds its own reference", "context-does-not-leak"),
    **spoiled(Contexts, OtherConfig, "another build over the same assets", "context-rebuilds-from-assets"),
    **spoiled(Loggers, DiaryConfig, "it raised IndexError: list index out of range", "records-a-run"),
    **spoiled(Loggers, DiaryConfig, "a continued run removed diary.txt", "continues-a-record"),
    **spoiled(Loggers, DiaryConfig, "start returned ''", "names-its-place"),
    **spoiled(Exporters, SheetConfig, "it raised IndexError: list index out of range", "exports-a-split"),
    **spoiled(Exporters, SheetConfig, "export returned ''", "says-how-to-open-it"),
}

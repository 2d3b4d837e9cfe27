"""JSON to `RunSpec`: reads and validates specs, reports every problem at its place, writes schema and descriptions."""

from .document import Overrides, pairs_of, parse_override
from .part import Part
from .run_spec import RunSpec, load_part, load_spec
from .settings import FeatureSettings, PartTuning, TrainSettings, TuneSettings

__all__ = [
    "FeatureSettings",
    "Overrides",
    "Part",
    "PartTuning",
    "RunSpec",
    "TrainSettings",
    "TuneSettings",
    "load_part",
    "load_spec",
    "pairs_of",
    "parse_override",
]

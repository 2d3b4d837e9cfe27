"""Everything a plugin author imports: protocols, config base, hooks, values, path types and errors. No torch."""

from ..errors import (
    BadCheckpoint,
    CapfwError,
    CapfwWarning,
    ComponentError,
    DataError,
    IncompatibleComponents,
    MissingLibrary,
    MissingWeights,
    UnreadableImage,
    nearest,
)
from .checkpoints import load_exactly, read_weights, require_layout, unreadable_reason
from .component import KINDS, Component, ComponentConfig, Kind
from .events import EpochEnded, Evaluated, Notice, Progress, RunEnded, RunStarted, StepEnded
from .files import missing_files, read_json, warn_of_repeated_captions
from .fingerprint import weights_fingerprint
from .foreign import ForeignCheckpoint, ForeignFeatures
from .generation import AverageBeamOptions, BeamOptions, GenerateOptions, GreedyOptions, NucleusOptions
from .hookspecs import API_VERSION, hookimpl
from .images import (
    Box,
    CentreSquare,
    ImageTransform,
    image_transform,
    open_image,
    padded_square,
    thumbnail,
    whole_image,
)
from .parts import Dataset, Decoder, Encoder, ImageMetric, Importer, KnowsForeignNames, Mapper, Metric, Restorable
from .paths import InputFile, InputFolder, OutputPath, Weights, is_local_path
from .shapes import FeatureKind, FeatureShape, Generated, ImageId, ImageSource, Sample, Scores, TokenBatch
from .shares import Shares

__all__ = [
    "API_VERSION",
    "KINDS",
    "AverageBeamOptions",
    "BadCheckpoint",
    "BeamOptions",
    "Box",
    "CapfwError",
    "CapfwWarning",
    "CentreSquare",
    "Component",
    "ComponentConfig",
    "ComponentError",
    "DataError",
    "Dataset",
    "Decoder",
    "Encoder",
    "EpochEnded",
    "Evaluated",
    "FeatureKind",
    "FeatureShape",
    "ForeignCheckpoint",
    "ForeignFeatures",
    "GenerateOptions",
    "Generated",
    "GreedyOptions",
    "ImageId",
    "ImageMetric",
    "ImageSource",
    "ImageTransform",
    "Importer",
    "IncompatibleComponents",
    "InputFile",
    "InputFolder",
    "Kind",
    "KnowsForeignNames",
    "Mapper",
    "Metric",
    "MissingLibrary",
    "MissingWeights",
    "Notice",
    "NucleusOptions",
    "OutputPath",
    "Progress",
    "Restorable",
    "RunEnded",
    "RunStarted",
    "Sample",
    "Scores",
    "Shares",
    "StepEnded",
    "TokenBatch",
    "UnreadableImage",
    "Weights",
    "hookimpl",
    "image_transform",
    "is_local_path",
    "load_exactly",
    "missing_files",
    "nearest",
    "open_image",
    "padded_square",
    "read_json",
    "read_weights",
    "require_layout",
    "thumbnail",
    "unreadable_reason",
    "warn_of_repeated_captions",
    "weights_fingerprint",
    "whole_image",
]

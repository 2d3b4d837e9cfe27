"""Encoder "spectrum" reads WAV bytes; data set "tones" has sounds and their captions, and no image."""

import io
import wave

import numpy as np
import torch
from torch import Tensor, nn

from capfw.core import protocols as p

RATE, LENGTH, PITCHES = 8000, 800, {"low": 200, "middle": 600, "high": 1800}


class SpectrumConfig(p.EncoderConfig):
    """The encoder has no options."""


class TonesConfig(p.DatasetConfig):
    """The data set has no options."""


def spectrum(data: bytes) -> Tensor:
    """WAV bytes (16 bits, one channel) -> magnitudes in 100 bands, normalised."""
    try:
        with wave.open(io.BytesIO(data)) as opened:
            samples = np.frombuffer(opened.readframes(LENGTH), dtype=np.int16)
    except (wave.Error, EOFError) as err:
        raise p.UnreadableSource(f"no WAV: {err}") from err
    return torch.from_numpy(np.abs(np.fft.rfft(samples / 32768.0, norm="forward"))[:400].reshape(100, 4).max(1)).float()


class Spectrum(nn.Module):
    feature_shape, transform = p.FeatureShape(num_tokens=1, dim=100), staticmethod(spectrum)

    def __init__(self, config: SpectrumConfig) -> None:
        super().__init__()

    def encode(self, inputs: Tensor) -> Tensor:
        return 10 * inputs[:, None]  # (B, 1, 100)

    def fingerprint(self) -> str:
        return p.weights_fingerprint(self)


class Tones:
    splits = ("train", "val", "test")

    def __init__(self, config: TonesConfig) -> None: ...
    def samples(self, split: str) -> list[p.Sample]:
        tones = [(name, pitch + 5 * shift) for shift in range(6) for name, pitch in PITCHES.items()]
        return [p.Sample(f"{split}-{n}", p.MemorySource(wav(f)), (f"a {x} tone",)) for n, (x, f) in enumerate(tones)]


def wav(pitch: float) -> bytes:
    file, values = io.BytesIO(), 20000 * np.sin(2 * np.pi * pitch * np.arange(LENGTH) / RATE)
    with wave.open(file, "wb") as opened:
        opened.setparams((1, 2, RATE, LENGTH, "NONE", ""))
        opened.writeframes(values.astype(np.int16).tobytes())
    return file.getvalue()


@p.hookimpl
def register_encoders() -> list[p.Component]:
    return [p.Component("spectrum", SpectrumConfig, f"{__name__}:Spectrum", "Reads WAV.", example=SpectrumConfig())]


@p.hookimpl
def register_datasets() -> list[p.Component]:
    return [p.Component("tones", TonesConfig, f"{__name__}:Tones", "Sounds, no images.", example=TonesConfig())]

"""The heavy half of metrics "pac-s" and "ref-pac-s"."""

from __future__ import annotations

from ...libraries.open_clip.caption_score import CaptionScore, RefCaptionScore

WEIGHT = 2.0  # Sarto et al., 2023, section 3.3


class PacScore(CaptionScore):
    """2 * max(cos(caption, image), 0) per image, and the mean over images."""

    weight = WEIGHT


class RefPacScore(RefCaptionScore):
    """Harmonic mean of PAC-S and max(cos(caption, nearest reference), 0) per image, and the mean over images."""

    weight, reference_free = WEIGHT, "pac-s"

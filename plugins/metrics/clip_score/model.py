"""The heavy half of metrics "clip-score" and "ref-clip-score"."""

from __future__ import annotations

from ...libraries.open_clip.caption_score import CaptionScore, RefCaptionScore

WEIGHT = 2.5  # Hessel et al., 2021, section 3: stretches the scores to about 0..1


class ClipScore(CaptionScore):
    """2.5 * max(cos(caption, image), 0) per image, and the mean over images."""

    weight = WEIGHT


class RefClipScore(RefCaptionScore):
    """Harmonic mean of CLIPScore and max(cos(caption, nearest reference), 0) per image, and the mean over images."""

    weight, reference_free = WEIGHT, "clip-score"

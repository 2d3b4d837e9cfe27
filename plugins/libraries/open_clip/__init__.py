"""CLIP models built by open_clip, from a published tag, a file or a folder, and their transforms."""

from .finder import find_clip, published_clip
from .models import build_both_towers, build_vision_tower
from .pixels import clip_transform
from .source import ClipSource

__all__ = ["ClipSource", "build_both_towers", "build_vision_tower", "clip_transform", "find_clip", "published_clip"]

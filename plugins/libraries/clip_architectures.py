"""Written-out architectures of CLIP models, as options of a spec. No torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class Architecture(BaseModel):
    """The vision tower of a written-out architecture, with the fields of open_clip's model files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embed_dim: int = Field(ge=1, description="Width of the projected embedding (D).")
    vision_cfg: dict[str, JsonValue] = Field(description="Fields of open_clip's `CLIPVisionCfg`.")
    quick_gelu: bool = Field(False, description="Use OpenAI's activation, x * sigmoid(1.702 x), in place of GELU.")


class TwoTowers(Architecture):
    """Both towers of a written-out architecture, with the fields of open_clip's model files."""

    text_cfg: dict[str, JsonValue] = Field(description="Fields of open_clip's `CLIPTextCfg`.")

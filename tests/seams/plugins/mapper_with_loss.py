"""Mapper "calm": one affine map, and a loss of its own that keeps the prefix short."""

from pydantic import Field
from torch import Tensor, nn

from capfw.core.protocols import Component, FeatureShape, Loss, MapperConfig, hookimpl


class CalmConfig(MapperConfig):
    """Options of the mapper."""

    prefix_length: int = Field(2, ge=1, description="Prefix vectors per image (P).")
    weight: float = Field(0.1, ge=0, description="Weight of the mean square of the prefix in the loss.")


class CalmMapper(nn.Module):
    """Maps features (B, N, D) float32 to a prefix (B, P, E) float32."""

    def __init__(self, config: CalmConfig, *, features: FeatureShape, embed_dim: int) -> None:
        super().__init__()
        self.prefix_length, self.embed_dim, self.weight = config.prefix_length, embed_dim, config.weight
        self.project = nn.Linear(features.dim, config.prefix_length * embed_dim)

    def forward(self, features: Tensor) -> Tensor:
        return self.project(features.mean(1)).view(-1, self.prefix_length, self.embed_dim)

    def forward_with_losses(self, features: Tensor) -> tuple[Tensor, dict[str, Loss]]:
        prefix = self(features)
        return prefix, {"prefix-square": Loss(prefix.square().mean((1, 2)).sum(), per="row", weight=self.weight)}


@hookimpl
def register_mappers() -> list[Component]:
    return [Component("calm", CalmConfig, f"{__name__}:CalmMapper", "Keeps the prefix short.", example=CalmConfig())]

"""The layout of a timm model's tokens: the grid of the patches, and the extra tokens before them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ....core.protocols import ComponentError

_FIX = 'Set "features" to "pooled".'


@dataclass(frozen=True)
class TokenLayout:
    """The order of the tokens in the output of `forward_features`: `num_extra_tokens`, then `grid`, row by row.

    `grid` is (rows, columns). With `has_cls` the first extra token is [CLS]. The other extra tokens are registers or
    distillation tokens.
    """

    grid: tuple[int, int]
    num_extra_tokens: int = 0
    has_cls: bool = False
    is_channels_last: bool = False

    def patches(self, hidden: Tensor) -> Tensor:
        """Returns the patch tokens (B, rows * columns, D) from the output of `forward_features`."""
        if hidden.ndim == 3:
            return hidden[:, self.num_extra_tokens :]  # (B, extra + N, D) -> (B, N, D)
        if self.is_channels_last:
            return hidden.flatten(1, 2)  # (B, H, W, D) -> (B, H * W, D)
        return hidden.flatten(2).transpose(1, 2)  # (B, D, H, W) -> (B, H * W, D)


def read_layout(net: nn.Module, hidden: object, pixels: Tensor, *, model: str) -> TokenLayout:
    """Finds the layout of `hidden`, the output of `net.forward_features` for `pixels` (1, 3, H, W).

    A map (1, D, H, W) or (1, H, W, D) is its own grid. The grid of a sequence (1, N, D) is that of the last map of
    `net.forward_intermediates`; N must equal rows * columns plus the extra tokens that the model declares.
    Raises `ComponentError` for any other output.
    """
    if not isinstance(hidden, Tensor):
        raise ComponentError(f"{model} emits several sequences of tokens per image.", option="features", fix=_FIX)
    if hidden.ndim == 4:
        is_channels_last = getattr(net, "output_fmt", "NCHW") == "NHWC"
        rows, columns = hidden.shape[1:3] if is_channels_last else hidden.shape[2:]
        return TokenLayout((rows, columns), is_channels_last=is_channels_last)
    last_map = net.forward_intermediates(pixels, indices=1, output_fmt="NCHW", intermediates_only=True)[-1]
    rows, columns = last_map.shape[2:]
    has_cls = any(name.rpartition(".")[2].startswith("cls_token") for name, _ in net.named_parameters())
    num_extra_tokens = getattr(net, "num_prefix_tokens", int(has_cls))
    if hidden.shape[1] != rows * columns + num_extra_tokens:
        raise ComponentError(
            f"{model} emits {hidden.shape[1]} tokens per image, not the {rows} x {columns} patches and "
            f"{num_extra_tokens} extra tokens of its last layer.",
            option="features",
            fix=_FIX,
        )
    return TokenLayout((rows, columns), num_extra_tokens, has_cls)

"""The image tower: Swin's layout with a global information window (Gswin).

Windows, shifts and the relative position bias follow Swin (Liu et al., ICCV 2021), with timm's
parameter names, so a timm Swin state dict fits as it is. The global window is our reading of
CMPAGL's abstract ("local window self-attention combined with global-local window
cross-attention"); the paper's formulas are not public.

Nothing here is stored in buffers: index tables and masks are computed from the size of the map at
hand, so any input size works and nothing has to be rebuilt after loading.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from timm.layers import DropPath, Mlp, PatchEmbed
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from .attention_cmpagl import GswinAttention
from .configuration_cmpagl import CMPAGLConfig
from .masking_cmpagl import MaskedBoxes, free_mean, map_mean
from .pooling_cmpagl import ScaleDecoupling, average_pool
from .stem_cmpagl import Lateral, create_stem, join_final_features, measure_stem
from .windows_cmpagl import WindowPlan

#: How timm's networks call their classifier.
_CLASSIFIERS = ("head.", "classifier.", "fc.")


@dataclass(frozen=True)
class GswinOutput:
    """What the image tower makes of B pictures.

    Attributes:
        tokens: (B, T, dim) normalised tokens of the last stage, row by row.
        pooled: (B, features) mean token, followed by the stem's pooled features if it has a skip.
        global_attention: one (B, H, W, M, M) map for each block that used the global window,
            averaged over heads: how much each token looks at each cell of the whole image. Empty
            unless asked for.
    """

    tokens: Tensor
    pooled: Tensor
    global_attention: tuple[Tensor, ...] = ()


class GswinBlock(GradientCheckpointingLayer):
    """Pre-norm block: attention, then an MLP, each with a residual path."""

    def __init__(
        self, config: CMPAGLConfig, stage: int, *, drop_path: float, use_global: bool
    ) -> None:
        super().__init__()
        dim = config.embed_dim_per_stage[stage]
        self.norm1 = nn.LayerNorm(dim)
        self.attn = GswinAttention(config, stage, use_global=use_global)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * config.mlp_ratio), drop=config.dropout)
        self.drop_path = DropPath(drop_path)

    @property
    def global_scale(self) -> Tensor | None:
        """Weight (dim,) of the global path, or None where there is none of its own."""
        return getattr(self.attn, "global_scale", None)

    def forward(
        self,
        tokens: Tensor,
        plan: WindowPlan,
        *,
        need_map: bool = False,
        free: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Transform a map (B, H, W, dim); see ``GswinAttention.forward``."""
        attended, _, seen = self.attn(self.norm1(tokens), plan, need_map=need_map, free=free)
        tokens = tokens + self.drop_path(attended)
        return tokens + self.drop_path(self.mlp(self.norm2(tokens))), seen


class PatchMerging(nn.Module):
    """Join 2 x 2 neighbouring tokens and double the width (Swin)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, H, W, dim) -> (B, ceil(H / 2), ceil(W / 2), 2 dim)."""
        tokens = F.pad(tokens, (0, 0, 0, tokens.shape[2] % 2, 0, tokens.shape[1] % 2))
        cells = tokens.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # (B, H/2, 2, W/2, 2, dim)
        cells = cells.permute(0, 1, 3, 4, 2, 5).flatten(3)  # (B, H/2, W/2, 4 dim)
        return self.reduction(self.norm(cells))


class GswinStage(nn.Module):
    """Patch merging (but for the first stage), then blocks on one map size.

    Args:
        config: the model's configuration.
        stage: number of the stage, from 0.
        drop_paths: stochastic depth of each block.
        use_global: whether the blocks have a global window.
        stem_channels: channels of the stem's map that is added after patch merging, or None.
    """

    def __init__(
        self,
        config: CMPAGLConfig,
        stage: int,
        *,
        drop_paths: list[float],
        use_global: bool,
        stem_channels: int | None,
    ) -> None:
        super().__init__()
        dim = config.embed_dim_per_stage[stage]
        self.window_size = config.window_size
        self.downsample = PatchMerging(dim // 2) if stage else nn.Identity()
        self.lateral = Lateral(stem_channels, dim) if stage and stem_channels else None
        self.blocks = nn.ModuleList(
            GswinBlock(config, stage, drop_path=rate, use_global=use_global) for rate in drop_paths
        )

    def forward(
        self,
        tokens: Tensor,
        level: Tensor | None,
        *,
        need_maps: bool = False,
        masked: MaskedBoxes | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Run the stage.

        Args:
            tokens: (B, H, W, dim) of the stage before.
            level: (B, channels, h, w) of the stem, or None; stage 0 has it as its tokens already.
            need_maps: also return the attention on the global window.
            masked: B boxes whose tokens count for nothing, or None.

        Returns:
            (B, H', W', dim') and the blocks' maps.
        """
        if masked is not None:
            tokens = tokens * masked.free(*tokens.shape[1:3]).to(tokens).unsqueeze(-1)
        tokens = self.downsample(tokens)  # (B, H', W', dim')
        size = (tokens.shape[1], tokens.shape[2])
        free = None if masked is None else masked.free(*size).to(tokens)
        if self.lateral is not None and level is not None:
            tokens = tokens + self.lateral(level, size)
        plans = [  # windows of even and of odd blocks
            WindowPlan.build(size, self.window_size, shifted=shifted, device=tokens.device)
            for shifted in (False, True)
        ]
        maps = []
        for index, block in enumerate(self.blocks):
            tokens, seen = block(tokens, plans[index % 2], need_map=need_maps, free=free)
            if seen is not None:
                maps.append(seen)
        return tokens, maps


class GswinModel(nn.Module):
    """The image tower: patch embedding or stem, Gswin stages, final norm.

    With a stem, its first chosen level becomes the tokens of stage 0, and its deeper levels, the
    last one together with its final features, are added after patch merging (our choice: the
    pretrained deep features must not be lost).

    Args:
        config: the model's configuration.

    Raises:
        ValueError: the stem is unknown to timm, or its levels do not fit the stages.
    """

    def __init__(self, config: CMPAGLConfig) -> None:
        super().__init__()
        self.config = config
        dims = config.embed_dim_per_stage
        self.num_features = dims[-1]
        self.stem = None
        self.scale_decoupling: nn.Module = nn.Identity()
        if config.stem is None:
            strides = [config.patch_size * 2**stage for stage in range(len(dims))]
            channels: list[int | None] = [None] * len(dims)
            self.patch_embed = PatchEmbed(
                img_size=None,
                patch_size=config.patch_size,
                embed_dim=dims[0],
                norm_layer=nn.LayerNorm,
                output_fmt="NHWC",
                strict_img_size=False,
                dynamic_img_pad=True,
            )
        else:
            self.stem = create_stem(config.stem)
            widths, strides, final = measure_stem(self.stem, config)
            channels = [*widths[:-1], widths[-1] + final]
            self.stem_embed = Lateral(widths[0] if len(dims) > 1 else widths[0] + final, dims[0])
            if config.stem_skip:
                self.stem_norm = nn.LayerNorm(final)
                self.num_features += final
            if config.stem_skip_levels:
                self.level_norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
                self.num_features += sum(widths)
            if config.scale_decoupling:
                self.scale_decoupling = ScaleDecoupling(widths)
        self.layers = nn.ModuleList(self._stages(config, strides, channels))
        self.norm = nn.LayerNorm(dims[-1])

    @staticmethod
    def _stages(
        config: CMPAGLConfig, strides: list[int], channels: list[int | None]
    ) -> list[GswinStage]:
        """Build the stages; one whose map fits in a window has no global path."""
        last = max(1, sum(config.depths) - 1)
        rates = [config.drop_path_rate * block / last for block in range(sum(config.depths))]
        stages = []
        for stage, depth in enumerate(config.depths):
            start = sum(config.depths[:stage])
            side = -(-config.image_size // strides[stage])
            stages.append(
                GswinStage(
                    config,
                    stage,
                    drop_paths=rates[start : start + depth],
                    use_global=side > config.window_size,
                    stem_channels=channels[stage],
                )
            )
        return stages

    def forward(
        self,
        pixel_values: Tensor,
        *,
        need_maps: bool = False,
        masked: MaskedBoxes | None = None,
    ) -> GswinOutput:
        """Encode pictures.

        Args:
            pixel_values: (B, 3, H, W), normalised; any H and W.
            need_maps: also return the attention on the global window.
            masked: V boxes; the output is of V pictures, each without the tokens of one box. B is
                1, and the stem runs once, or V.
        """
        tokens, skips, maps = self._run(pixel_values, need_maps=need_maps, masked=masked)
        free = None
        if masked is not None:
            free = masked.free(*tokens.shape[1:3]).to(tokens).flatten(1).unsqueeze(-1)  # (V, T, 1)
        tokens = tokens.flatten(1, 2)  # (B, T, dim)
        skipped = [norm(map_mean(level, masked)) for norm, level in skips]
        pooled = torch.cat([free_mean(tokens, free, 1), *skipped], dim=-1)  # (B, num_features)
        return GswinOutput(tokens, pooled, tuple(maps))

    def patch_features(self, pixel_values: Tensor) -> Tensor:
        """Encode each patch as ``pooled`` of ``forward`` is of the whole: (B, T, num_features)."""
        tokens, skips, _ = self._run(pixel_values, need_maps=False, masked=None)
        grid = (tokens.shape[1], tokens.shape[2])
        cells = [average_pool(level, grid).permute(0, 2, 3, 1) for _, level in skips]
        skipped = [norm(cell) for (norm, _), cell in zip(skips, cells, strict=True)]
        return torch.cat([tokens, *skipped], dim=-1).flatten(1, 2)

    def _run(
        self, pixel_values: Tensor, *, need_maps: bool, masked: MaskedBoxes | None
    ) -> tuple[Tensor, list[tuple[nn.Module, Tensor]], list[Tensor]]:
        """Run stem and stages.

        Returns:
            Normalised tokens (B, h, w, dim); norm and map (B, C, h, w) of what skips the stages;
            the attention maps that were asked for.
        """
        levels, skips = self._stem_features(pixel_values)
        # (B, H / stride, W / stride, dim)
        tokens = self.patch_embed(pixel_values) if levels[0] is None else self.stem_embed(levels[0])
        maps: list[Tensor] = []
        for layer, level in zip(self.layers, levels, strict=True):
            tokens, seen = layer(tokens, level, need_maps=need_maps, masked=masked)
            maps += seen
        return self.norm(tokens), skips, maps

    def _stem_features(
        self, pixel_values: Tensor
    ) -> tuple[list[Tensor | None], list[tuple[nn.Module, Tensor]]]:
        """One map of the stem per stage, and norm and map of all that skips the stages.

        The last map has the final features behind it.
        """
        if self.stem is None:
            return [None] * len(self.layers), []
        final, levels = self.stem.forward_intermediates(
            pixel_values, indices=self.config.stem_indices
        )
        skips: list[tuple[nn.Module, Tensor]] = []
        if self.config.stem_skip:
            skips.append((self.stem_norm, final))
        if self.config.stem_skip_levels:
            skips += zip(self.level_norms, self.scale_decoupling(levels), strict=True)
        return [*levels[:-1], join_final_features(levels[-1], final)], skips

    def load_pretrained(self, state_dict: Mapping[str, Tensor]) -> None:
        """Load timm weights: of the stem if there is one, else of a Swin of the same layout.

        A classifier in ``state_dict`` is left out. With Swin weights only the global path stays
        as it was, at its zero start.

        Raises:
            ValueError: weights are missing or left over, or of another shape.
        """
        target = self if self.stem is None else self.stem
        wanted = target.state_dict()
        weights = {
            name: value
            for name, value in state_dict.items()
            if name in wanted or not name.startswith(_CLASSIFIERS)
        }
        # Only the global path may be absent from the file: it is what Swin does not have.
        lost = {name for name in wanted.keys() ^ weights.keys() if ".attn.global_" not in name}
        common = wanted.keys() & weights.keys()
        unfit = sorted(lost | {n for n in common if wanted[n].shape != weights[n].shape})
        if unfit:
            raise ValueError(
                f"The weights do not fit this image tower: {len(unfit)} are missing, left over or "
                f"of another shape, such as {', '.join(unfit[:5])}. Expected the state dict of "
                f"{self.config.stem or 'a Swin of the same layout'} from timm."
            )
        target.load_state_dict(weights, strict=False)

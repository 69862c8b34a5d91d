"""The two fusions of GaLR, MVSA over backbone levels and MIDF of global and local vectors; a head.

Sources: paper section III and the released code; where they part, the configuration decides.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .configuration_galr import GaLRConfig

_NORM_EPS = 1e-8  # l2norm(x) = x / (|x| + eps), released
_LOW_KERNEL = 3
_LEVEL_CHANNELS = 3  # MVSA squeezes the low and the high levels to 3 channels each
_WEIGHT_DROPOUT = 0.2  # in the small network of MIDF that weighs the two sides


def l2_normalise(vectors: Tensor) -> Tensor:
    """Divide by the length over the last dimension; a zero vector stays zero."""
    return vectors / (vectors.norm(dim=-1, keepdim=True) + _NORM_EPS)


class MVSA(nn.Module):
    """Multi-level visual self-attention: all levels make a mask over the last one's mean.

    Args:
        config: see ``mvsa_*``, ``low_levels`` and ``high_levels``.
        channels: channels of each backbone level.
        strides: stride of each backbone level in pixels.
    """

    def __init__(self, config: GaLRConfig, channels: list[int], strides: list[int]) -> None:
        super().__init__()
        self.low_levels, self.high_levels = config.low_levels, config.high_levels
        low, high = self.low_levels, self.high_levels
        self.low = nn.Conv2d(
            sum(channels[level] for level in low),
            _LEVEL_CHANNELS,
            kernel_size=_LOW_KERNEL,
            stride=max(1, strides[high[0]] // strides[low[0]]),
        )
        self.high = nn.Conv2d(
            sum(channels[level] for level in high), _LEVEL_CHANNELS, kernel_size=1
        )
        self.low_activation = nn.PReLU() if config.mvsa_prelu else nn.Identity()
        self.high_activation = nn.PReLU() if config.mvsa_prelu else nn.Identity()
        self.normalise = config.mvsa_l2
        self.value = nn.Conv2d(2 * _LEVEL_CHANNELS, 1, kernel_size=1)
        self.gate = nn.Conv2d(2 * _LEVEL_CHANNELS, 1, kernel_size=1)
        self.grid = config.mvsa_grid
        self.mask = nn.Linear(self.grid**2, config.fusion_dim)
        self.last = nn.Linear(channels[-1], config.fusion_dim)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Turn maps, each (B, C_level, h, w), into the global vector (B, ``fusion_dim``)."""
        high = self.high_activation(self.high(_join([maps[level] for level in self.high_levels])))
        low = _at_least(_join([maps[level] for level in self.low_levels]), _LOW_KERNEL)
        low = self.low_activation(self.low(low))  # (B, 3, about h, w)
        # Equal at 256 px; other sizes may differ by a border cell.
        low = _resize(low, high)  # (B, 3, h, w)
        joint = torch.cat((low, high), dim=1) + high.mean(dim=1, keepdim=True)  # (B, 6, h, w)
        if self.normalise:
            joint = F.normalize(joint, dim=1)
        attention = self.value(joint) * torch.sigmoid(self.gate(joint))  # (B, 1, h, w)
        attention = average_pool(attention, self.grid).flatten(1)  # (B, grid**2)
        mask = torch.sigmoid(self.mask(attention))  # (B, fusion_dim)
        return l2_normalise(self.last(maps[-1].mean(dim=(-2, -1))) * mask)


class UnbiasedLayerNorm(nn.Module):
    """Layer norm of the released code: unbiased deviation, eps added to the deviation."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, vectors: Tensor) -> Tensor:
        """Normalise over the last dimension."""
        centred = vectors - vectors.mean(dim=-1, keepdim=True)
        return self.weight * centred / (vectors.std(dim=-1, keepdim=True) + self.eps) + self.bias


class TokenAttention(nn.Module):
    """Attention between sequences of one token: the softmax over a single key is 1.

    ``value`` builds only the two maps that act; ``full`` the whole multi-head attention, whose
    query and key matrices get no gradient.
    """

    def __init__(self, config: GaLRConfig) -> None:
        super().__init__()
        width = config.fusion_dim
        self.full = config.fusion_attention == "full"
        if self.full:
            self.attention = nn.MultiheadAttention(
                width, config.fusion_heads, dropout=config.fusion_dropout, batch_first=True
            )
        else:
            self.value = nn.Linear(width, width)
            self.output = nn.Linear(width, width)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """Attend from (B, D) to (B, D)."""
        if not self.full:
            return self.output(self.value(key))
        token = key.unsqueeze(1)  # (B, 1, D)
        return self.attention(query.unsqueeze(1), token, token, need_weights=False)[0].squeeze(1)


class AttentionBlock(nn.Module):
    """A chain of attentions and a feed-forward part, each x -> norm(x + dropout(part(x)))."""

    def __init__(self, config: GaLRConfig, *, attentions: int) -> None:
        super().__init__()
        width, hidden = config.fusion_dim, config.fusion_dim * config.fusion_ffn_ratio
        self.attentions = nn.ModuleList([TokenAttention(config) for _ in range(attentions)])
        self.feed_forward = nn.Sequential(
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(config.fusion_dropout),
            nn.Linear(hidden, width),
        )
        norm = UnbiasedLayerNorm if config.fusion_norm == "released" else nn.LayerNorm
        self.norms = nn.ModuleList([norm(width) for _ in range(attentions + 1)])
        self.dropout = nn.Dropout(config.fusion_dropout)

    def forward(self, vector: Tensor, guide: Tensor | None = None) -> Tensor:
        """Transform (B, D); the last attention looks at ``guide`` (B, D) where one is given."""
        last = len(self.attentions) - 1
        for step, attention in enumerate(self.attentions):
            seen = guide if guide is not None and step == last else vector
            vector = self.norms[step](vector + self.dropout(attention(vector, seen)))
        return self.norms[-1](vector + self.dropout(self.feed_forward(vector)))


class MIDF(nn.Module):
    """Multi-level information dynamic fusion: local corrects global, global supplements local."""

    def __init__(self, config: GaLRConfig) -> None:
        super().__init__()
        width = config.fusion_dim
        self.released_order = config.fusion_order == "released"
        self.sigmoid_gate = config.fusion_gate == "released"
        self.released_weights = config.fusion_weights == "released"
        guided = 2 if self.released_order else 1
        self.self_global = AttentionBlock(config, attentions=1)
        self.self_local = AttentionBlock(config, attentions=1)
        self.guided_local = AttentionBlock(config, attentions=guided)
        self.guided_global = AttentionBlock(config, attentions=guided)
        self.weigh = nn.Sequential(
            nn.Linear(width, width), nn.Sigmoid(), nn.Dropout(_WEIGHT_DROPOUT), nn.Linear(width, 2)
        )

    def forward(self, global_vector: Tensor, local_vector: Tensor, present: Tensor) -> Tensor:
        """Fuse the two sides.

        Args:
            global_vector: (B, D) of MVSA.
            local_vector: (B, D) of the region branch.
            present: (B,) bool, false where a picture has no regions: there the self-attended
                global vector stands alone (our choice; the released code always has regions).

        Returns:
            (B, D).
        """
        alone = self.self_global(global_vector)
        local_self = self.self_local(local_vector)
        local_guided = self.guided_local(local_self, alone)
        guide = local_guided if self.released_order else local_self
        global_guided = self.guided_global(alone, guide)
        gate = torch.sigmoid(local_guided) if self.sigmoid_gate else local_guided
        corrected, supplemented = gate * global_guided, global_guided + local_guided
        weights = self.weigh(corrected + supplemented).softmax(dim=-1)  # (B, 2)
        local_weight = weights[:, :1] if self.released_weights else weights[:, 1:]
        fused = weights[:, :1] * corrected + local_weight * supplemented
        return torch.where(present.unsqueeze(-1), fused, alone)


def _join(maps: list[Tensor]) -> Tensor:
    """Concatenate maps over channels at the size of the first."""
    return torch.cat([_resize(level, maps[0]) for level in maps], dim=1)


def _at_least(level: Tensor, side: int) -> Tensor:
    """Pad a map of a very small picture with zeros to ``side`` cells."""
    height, width = level.shape[-2:]
    return F.pad(level, (0, max(0, side - width), 0, max(0, side - height)))


# Copied from rsctir_hf.models.cmpagl.pooling_cmpagl.average_pool
def average_pool(features: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Adaptive average pooling of (B, C, h, w) to (B, C, H, W).

    Under ``torch.use_deterministic_algorithms`` (``full_determinism`` of a training) it is a
    product with the cells' shares on either side: the gradient of PyTorch's own kernel raises there
    on a GPU.

    Args:
        features: (B, C, h, w).
        size: (H, W), or the side of a square.
    """
    if not torch.are_deterministic_algorithms_enabled():
        return F.adaptive_avg_pool2d(features, size)
    rows, columns = (size, size) if isinstance(size, int) else size
    return _shares(features, rows, -2).T @ features @ _shares(features, columns, -1)


# Copied from rsctir_hf.models.cmpagl.pooling_cmpagl._shares
def _shares(features: Tensor, cells: int, dim: int) -> Tensor:
    """Share (length of ``dim``, cells) that each place has in the mean of each cell."""
    places = torch.eye(features.shape[dim], dtype=features.dtype, device=features.device)
    return F.adaptive_avg_pool1d(places, cells)


# Copied from rsctir_hf.models.cmpagl.pooling_cmpagl.ScaleDecoupling
class ScaleDecoupling(nn.Module):
    """Each level keeps what is salient on it and hides that from the next one, in both orders.

    "SSJDN-style", after the abstract of arXiv 2212.05752: bi-directional scale decoupling by
    salience extraction and salience-guided suppression. The formulas are our choice: a 1x1
    convolution and a sigmoid make the salience m of a level, which keeps level * m; the next level
    is seen times 1 - m. That is done from the finest to the coarsest and back, with convolutions of
    their own, and what a level keeps in either order is added.

    Args:
        channels: of each level.
    """

    # Copied from rsctir_hf.models.cmpagl.pooling_cmpagl.ScaleDecoupling.__init__
    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.finest_first = nn.ModuleList(nn.Conv2d(width, 1, kernel_size=1) for width in channels)
        self.coarsest_first = nn.ModuleList(
            nn.Conv2d(width, 1, kernel_size=1) for width in channels
        )

    # Copied from rsctir_hf.models.cmpagl.pooling_cmpagl.ScaleDecoupling.forward
    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return levels (B, C_level, h, w), finest first, as they stand for themselves."""
        there = self.salience(maps, self.finest_first)
        back = self.salience(maps[::-1], self.coarsest_first[::-1])[::-1]
        return [level * (a + b) for level, a, b in zip(maps, there, back, strict=True)]

    # Copied from rsctir_hf.models.cmpagl.pooling_cmpagl.ScaleDecoupling.salience
    def salience(self, maps: Sequence[Tensor], convolutions: nn.ModuleList) -> list[Tensor]:
        """Return each level's share (B, 1, h, w), in the order of maps: its salience, if seen."""
        shares: list[Tensor] = []
        hidden = None
        for level, convolution in zip(maps, convolutions, strict=True):
            seen = torch.ones_like(level[:, :1])
            if hidden is not None:
                seen = 1 - average_pool(hidden, (level.shape[-2], level.shape[-1]))
            hidden = torch.sigmoid(convolution(level * seen))
            shares.append(seen * hidden)
        return shares


def _resize(level: Tensor, like: Tensor) -> Tensor:
    if level.shape[-2:] == like.shape[-2:]:
        return level
    return F.interpolate(level, size=like.shape[-2:], mode="nearest")


class ImageHead(nn.Module):
    """Projects the fused vector, joined with the backbone's pooled features, to (B, D)."""

    def __init__(
        self, config: GaLRConfig, *, pooled_dim: int = 0, level_dims: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.fused_norm = nn.LayerNorm(config.fusion_dim)
        # All parts on one scale, so that none drowns the others in the projection.
        self.pooled_norm = nn.LayerNorm(pooled_dim) if pooled_dim else None
        self.level_norms = nn.ModuleList(nn.LayerNorm(dim) for dim in level_dims)
        self.dropout = nn.Dropout(config.projection_dropout)
        width = config.fusion_dim + pooled_dim + sum(level_dims)
        self.linear = nn.Linear(width, config.projection_dim)

    def forward(self, fused: Tensor, pooled: Tensor | None, means: Sequence[Tensor]) -> Tensor:
        """Project fused (B, ``fusion_dim``), pooled (B, C) and the means (B, c) of the levels.

        Pooled and means of one picture serve for any number of fused vectors.
        """
        joint = [self.fused_norm(fused)]
        if self.pooled_norm is not None:
            joint.append(self.pooled_norm(pooled))
        # Without norms: no levels.
        joint += [norm(mean) for norm, mean in zip(self.level_norms, means, strict=False)]
        joint = [part.expand(fused.shape[0], -1) for part in joint]
        return self.linear(self.dropout(torch.cat(joint, dim=-1)))

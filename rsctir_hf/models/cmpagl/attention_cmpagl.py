"""Attention of a Gswin block: inside windows, and from every token to the global window.

Windows and the relative position bias follow Swin (Liu et al., ICCV 2021), with timm's parameter
names. The global window is our reading of CMPAGL's abstract, see ``gswin_cmpagl``.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .configuration_cmpagl import CMPAGLConfig
from .masking_cmpagl import free_cells_only, key_bias
from .pooling_cmpagl import average_pool
from .windows_cmpagl import WindowPlan, relative_position_index


def attend(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, *, eager: bool
) -> tuple[Tensor, Tensor | None]:
    """Scaled dot-product attention of (..., n, d) to (..., m, d).

    Args:
        query: (..., n, d).
        key: (..., m, d).
        value: (..., m, d).
        bias: added to the scores (..., n, m), or None.
        eager: compute the weights (..., n, m) and return them too; else PyTorch's fused kernel.
    """
    if not eager:
        return F.scaled_dot_product_attention(query, key, value, bias), None
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    weights = (scores if bias is None else scores + bias).softmax(-1)
    return weights @ value, weights


class GswinAttention(nn.Module):
    """Window attention with a path to the global window.

    Args:
        config: sizes and the switch ``global_attention``.
        stage: which stage the block belongs to.
        use_global: whether the stage has a global window at all.
    """

    def __init__(self, config: CMPAGLConfig, stage: int, *, use_global: bool) -> None:
        super().__init__()
        dim, side = config.embed_dim_per_stage[stage], config.window_size
        self.config = config
        self.num_heads = config.num_heads[stage]
        self.window_size = side
        self.mode = config.global_attention if use_global else "local_only"
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(config.dropout)
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros((2 * side - 1) ** 2, self.num_heads)
        )
        if self.mode != "local_only":
            self.global_position = nn.Parameter(torch.zeros(side * side, dim))
            self.global_kv = nn.Linear(dim, 2 * dim)
        if self.mode == "cross":
            self.global_scale = nn.Parameter(torch.zeros(dim))

    def forward(
        self,
        tokens: Tensor,
        plan: WindowPlan,
        *,
        need_map: bool = False,
        free: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Attend within windows and, where the map exceeds one window, to the global window.

        Args:
            tokens: (B, H, W, dim) normalised.
            plan: the windows of this map.
            need_map: also return the attention on the global window.
            free: (B, H, W), 0 for tokens that nothing may look at; None for none.

        Returns:
            (B, H, W, dim); with the ``eager`` implementation of attention the weights
            (B, nW, heads, n, n) in the nW windows of n tokens, else None; and the map
            (B, H, W, M, M) or None. ``concat`` has M * M more columns, of the global window.
        """
        windows = plan.split(tokens)  # (B, nW, n, dim)
        query, key, value = self._heads(self.qkv(windows), 3)  # each (B, nW, h, n, d)
        bias = self._bias(plan)  # (1, 1 or nW, h, n, n)
        if free is not None:
            bias = bias + key_bias(plan.split(free.unsqueeze(-1))).mT.unsqueeze(2)
        # A map that fits one window is its own global window.
        mode = "local_only" if plan.fits_one_window else self.mode
        seen: Tensor | None = None
        weights: Tensor | None
        if mode == "concat":
            window = self._global_window(tokens, free)
            mixed, weights, seen = self._concat(query, key, value, bias, window)
        else:
            mixed, weights = self._local(query, key, value, bias)
        if mode == "cross":
            distant, seen = self._cross(query, tokens, free, need_map=need_map)
            mixed = mixed + distant * self.global_scale.view(self.num_heads, 1, -1)
        mixed = mixed.transpose(2, 3).flatten(3)  # (B, nW, n, dim)
        result = self.dropout(plan.merge(self.proj(mixed)))
        if not need_map or seen is None:
            return result, weights, None
        seen = plan.merge(seen.mean(2))  # (B, H, W, M * M)
        return result, weights, seen.unflatten(-1, (self.window_size, self.window_size))

    @property
    def _eager(self) -> bool:
        """Whether the weights are computed and given out; it may change at any time."""
        return self.config._attn_implementation == "eager"

    def _heads(self, projected: Tensor, parts: int) -> tuple[Tensor, ...]:
        """Split (..., n, parts * dim) into ``parts`` tensors (..., heads, n, dim / heads)."""
        split = projected.unflatten(-1, (parts, self.num_heads, -1))
        return tuple(part.transpose(-3, -2) for part in split.unbind(-3))

    def _bias(self, plan: WindowPlan) -> Tensor:
        """Relative position bias, minus infinity where the plan forbids a pair."""
        index = relative_position_index(plan.window, self.window_size)
        table = self.relative_position_bias_table
        bias = table[index.to(table.device)].permute(2, 0, 1)[None, None]  # (1, 1, h, n, n)
        if plan.mask is None:
            return bias
        return bias.masked_fill(~plan.mask[None, :, None], float("-inf"))

    def _global_window(
        self, tokens: Tensor, free: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys and values (B, heads, M * M, d) of the map pooled to one window, and a bias.

        The bias (B, 1, 1, M * M) keeps cells out that have no free token; None where all are free.
        """
        side, bias = self.window_size, None
        cells = tokens.permute(0, 3, 1, 2)  # (B, dim, H, W)
        if free is None:
            pooled = average_pool(cells, side)
        else:
            unmasked = free.unsqueeze(1)  # (B, 1, H, W)
            share = average_pool(unmasked, side)
            pooled = free_cells_only(average_pool(cells * unmasked, side), share)
            bias = key_bias((share > 0).to(share)).flatten(2).unsqueeze(2)
        window = pooled.flatten(2).transpose(1, 2) + self.global_position  # (B, M * M, dim)
        key, value = self._heads(self.global_kv(window), 2)
        return key, value, bias

    def _local(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Let the tokens of a window ask each other."""
        if self._eager:
            return attend(query, key, value, bias, eager=True)
        # Windows beside heads, (B, nW * h, n, d): the form that fast kernels and ONNX take.
        bias = bias.expand(-1, query.shape[1], -1, -1, -1).flatten(1, 2)
        flat = query.flatten(1, 2)
        mixed, _ = attend(flat, key.flatten(1, 2), value.flatten(1, 2), bias, eager=False)
        return mixed.view_as(query), None

    def _cross(
        self, query: Tensor, tokens: Tensor, free: Tensor | None, *, need_map: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Let all windows of a picture ask its global window, with the local queries."""
        key, value, bias = self._global_window(tokens, free)
        windows = (query.shape[1], query.shape[3])
        query = query.transpose(1, 2).flatten(2, 3)  # (B, h, nW * n, d)
        mixed, weights = attend(query, key, value, bias, eager=self._eager or need_map)
        mixed = mixed.unflatten(2, windows).transpose(1, 2)  # (B, nW, h, n, d)
        if weights is not None:
            weights = weights.unflatten(2, windows).transpose(1, 2)  # (B, nW, h, n, M * M)
        return mixed, weights

    def _concat(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor,
        window: tuple[Tensor, Tensor, Tensor | None],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One softmax over a window's own keys and the global ones (an ablation)."""
        global_key, global_value, global_bias = window
        local = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5 + bias
        distant = query @ global_key[:, None].transpose(-2, -1) * query.shape[-1] ** -0.5
        if global_bias is not None:
            distant = distant + global_bias[:, None]
        weights = torch.cat([local, distant], dim=-1).softmax(-1)  # (B, nW, h, n, n + M * M)
        near, far = weights.split([local.shape[-1], distant.shape[-1]], dim=-1)
        return near @ value + far @ global_value[:, None], weights, far

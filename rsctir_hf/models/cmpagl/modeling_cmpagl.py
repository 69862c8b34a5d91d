"""The CMPAGL-style model: two towers that align, and an encoder that fuses.

"CMPAGL-style, from the published description" (Sun, Zhao, Liu and Kaup, TGRS 2024,
arXiv 2411.14704): a global-Swin image tower and a BERT text tower are aligned on a shared unit
sphere before a multimodal encoder sees them. What the description leaves open is our choice.

The forward pass returns no loss; training code combines the outputs with a loss of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertModel, PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from .configuration_cmpagl import CMPAGLConfig
from .fusion_cmpagl import FusionEncoder
from .gswin_cmpagl import GswinAttention, GswinModel
from .masking_cmpagl import MaskedBoxes

#: Parts of like length into which a training batch of sentences is cut.
TEXT_PARTS = 4


@dataclass
class CMPAGLOutput(ModelOutput):
    """Output of ``CMPAGLModel.forward``.

    Attributes:
        logits_per_image: (B, C) scaled cosines; None unless both sides were given.
        logits_per_text: (C, B), its transpose.
        image_embeds: (B, D) float32 unit vectors, or None without pictures.
        text_embeds: (C, D) float32 unit vectors, or None without sentences.
        image_tokens: (B, tokens, dim) for ``match`` and ``match_logits``.
        text_states: (C, T, hidden) of the text tower, for ``match_logits``.
    """

    logits_per_image: Tensor | None = None
    logits_per_text: Tensor | None = None
    image_embeds: Tensor | None = None
    text_embeds: Tensor | None = None
    image_tokens: Tensor | None = None
    text_states: Tensor | None = None


class ProjectionHead(nn.Module):
    """From a tower's features to the shared space.

    With one layer it is linear; with two, a GELU layer is added beside the linear path (our
    choice: the linear path keeps pretrained features reachable from the first step).
    """

    def __init__(self, config: CMPAGLConfig, features: int) -> None:
        super().__init__()
        dim = config.projection_dim
        self.dropout = nn.Dropout(config.projection_dropout)
        self.linear = nn.Linear(features, dim)
        self.residual = None
        if config.projection_layers > 1:
            self.residual = nn.Sequential(
                nn.Linear(features, dim),
                nn.GELU(),
                nn.Dropout(config.projection_dropout),
                nn.Linear(dim, dim),
            )

    def forward(self, features: Tensor) -> Tensor:
        """(B, features) -> (B, D) float32 unit vectors."""
        features = self.dropout(features)
        projected = self.linear(features)  # (B, D)
        if self.residual is not None:
            projected = projected + self.residual(features)
        return F.normalize(projected.float(), dim=-1)


class CMPAGLPreTrainedModel(PreTrainedModel):
    """Weight initialisation and loading."""

    config_class = CMPAGLConfig
    base_model_prefix = "cmpagl"
    main_input_name = "pixel_values"
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise what a checkpoint has not filled; loaded tensors are flagged and skipped."""
        super()._init_weights(module)
        # from_pretrained builds on the meta device, where timm's non-persistent buffers get lost.
        rebuild_buffers = getattr(module, "init_non_persistent_buffers", None)
        if callable(rebuild_buffers):
            rebuild_buffers()
        if isinstance(module, GswinAttention):
            std = self.config.initializer_range
            init.trunc_normal_(module.relative_position_bias_table, std=std)
            if module.mode != "local_only":
                init.trunc_normal_(module.global_position, std=std)
            if module.mode == "cross":
                init.zeros_(module.global_scale)
        elif isinstance(module, CMPAGLModel):
            init.constant_(module.logit_scale, self.config.logit_scale_init)


class CMPAGLModel(CMPAGLPreTrainedModel):
    """Dual encoder with a fusion encoder for the best candidates.

    Args:
        config: sizes and switches.

    Attributes:
        image_model: Gswin tower, with the timm network ``image_model.stem`` if there is one.
        text_model: ``BertModel`` without pooler.
        image_projection, text_projection: heads to the shared unit sphere.
        fusion_encoder, match_head: judge a pair from all its tokens.
        logit_scale: log(1 / tau).
    """

    def __init__(self, config: CMPAGLConfig) -> None:
        super().__init__(config)
        self.image_model = GswinModel(config)
        self.text_model = BertModel(config.bert_config, add_pooling_layer=False)
        hidden = config.bert_config.hidden_size
        self.image_projection = ProjectionHead(config, self.image_model.num_features)
        self.text_projection = ProjectionHead(config, hidden)
        self.fusion_encoder = FusionEncoder(
            config.bert_config, config.fusion_layers, config.stage_dims[-1]
        )
        self.match_head = nn.Linear(hidden, 2)
        self.logit_scale = nn.Parameter(torch.tensor(config.logit_scale_init))
        self._keep_stem_initialisation()
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> CMPAGLOutput | tuple[Tensor, ...]:
        """Embed pictures, sentences or both, and compare them.

        Args:
            input_ids: (C, T) token ids.
            attention_mask: (C, T), 1 at words; None takes every id but padding for a word.
            pixel_values: (B, 3, H, W) normalised; any H and W.
            token_type_ids: (C, T), for tokenizers that return them.
            return_dict: False gives a tuple of the parts that are not None.

        Raises:
            ValueError: neither side is given.
        """
        if input_ids is None and pixel_values is None:
            raise ValueError("Got neither input_ids nor pixel_values; give at least one of them.")
        image_tokens = image_embeds = text_states = text_embeds = logits = None
        if pixel_values is not None:
            encoded = self.image_model(pixel_values.to(self.dtype))
            image_tokens = encoded.tokens
            image_embeds = self.image_projection(encoded.pooled)
        if input_ids is not None:
            mask = self._word_mask(input_ids, attention_mask)
            text_states = self._text_states(input_ids, mask, token_type_ids)
            text_embeds = self.text_projection(self._pool_text(text_states, mask))
        if image_embeds is not None and text_embeds is not None:
            logits = image_embeds @ text_embeds.T * self.logit_scale.float().exp()  # (B, C)
        output = CMPAGLOutput(
            logits_per_image=logits,
            logits_per_text=None if logits is None else logits.T,
            image_embeds=image_embeds,
            text_embeds=text_embeds,
            image_tokens=image_tokens,
            text_states=text_states,
        )
        return output.to_tuple() if return_dict is False else output

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """Embed pictures (B, 3, H, W) as (B, D) float32 unit vectors."""
        return self.image_projection(self.image_model(pixel_values.to(self.dtype)).pooled)

    def get_text_features(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """Embed token ids (C, T) as (C, D) float32 unit vectors."""
        mask = self._word_mask(input_ids, attention_mask)
        states = self._text_states(input_ids, mask, token_type_ids)
        return self.text_projection(self._pool_text(states, mask))

    def get_image_tokens(self, pixel_values: Tensor) -> Tensor:
        """Encode pictures (B, 3, H, W) as tokens (B, tokens, dim) for ``match``."""
        return self.image_model(pixel_values.to(self.dtype)).tokens

    def get_global_attention(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """Show what each token sees of the whole picture.

        Args:
            pixel_values: (B, 3, H, W).

        Returns:
            One (B, h, w, M, M) map per block with a global window, averaged over heads; with
            ``global_attention="cross"`` the M x M weights of a token sum to 1. Empty if no block
            has one.
        """
        return self.image_model(pixel_values.to(self.dtype), need_maps=True).global_attention

    def get_global_scales(self) -> list[Tensor]:
        """Return the learned weight (dim,) of the global window in each block that has one.

        In the order of ``get_global_attention``. Where a picture is smaller than the model's own
        size, the last maps may be missing there: theirs is the first stage whose map fits one
        window. Empty unless ``global_attention="cross"``.
        """
        blocks = (part for part in self.image_model.modules() if isinstance(part, GswinAttention))
        return [block.global_scale for block in blocks if block.mode == "cross"]

    def get_features_without_boxes(self, pixel_values: Tensor, boxes: Tensor) -> Tensor:
        """Embed pictures with the tokens under a box masked, see ``masking_cmpagl`` (our reading).

        Args:
            pixel_values: (1, 3, H, W), one picture that all boxes belong to and the stem sees
                once; or (V, 3, H, W), a picture for each box.
            boxes: (V, 4) x1, y1, x2, y2 in pixels of ``pixel_values``; a box beside the picture
                masks nothing.

        Returns:
            (V, D) float32 unit vectors.

        Raises:
            ValueError: boxes and pictures do not fit, or a box is not finite.
        """
        if boxes.ndim != 2 or boxes.shape[1] != 4 or len(pixel_values) not in (1, len(boxes)):
            raise ValueError(
                f"Got boxes {tuple(boxes.shape)} for {len(pixel_values)} pictures; expected (V, 4) "
                "for one picture, or one box for each."
            )
        if not boxes.isfinite().all():
            raise ValueError("A box holds values that are not finite; leave it out.")
        size = (pixel_values.shape[-2], pixel_values.shape[-1])
        masked = MaskedBoxes(boxes.to(pixel_values.device).float(), size)
        pooled = self.image_model(pixel_values.to(self.dtype), masked=masked).pooled
        return self.image_projection(pooled)

    def match(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        pixel_values: Tensor | None = None,
        image_tokens: Tensor | None = None,
    ) -> Tensor:
        """Judge P pairs with the fusion encoder; meant for the best candidates of a query.

        Args:
            input_ids: (P, T); row p belongs to picture p.
            attention_mask: (P, T).
            pixel_values: (P, 3, H, W), or
            image_tokens: (P, tokens, dim) from ``get_image_tokens``.

        Returns:
            (P,) float32 probability that the sentence describes the picture.
        """
        logits = self.match_logits(
            input_ids, attention_mask, pixel_values=pixel_values, image_tokens=image_tokens
        )
        return logits.float().softmax(-1)[:, 1]

    def match_logits(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        pixel_values: Tensor | None = None,
        image_tokens: Tensor | None = None,
        text_states: Tensor | None = None,
    ) -> Tensor:
        """Score P pairs as (P, 2) logits: no match, match.

        Args:
            input_ids: (P, T), or ``text_states`` with an ``attention_mask``.
            attention_mask: (P, T).
            pixel_values: (P, 3, H, W), or ``image_tokens``.
            image_tokens: (P, tokens, dim) as ``forward`` returns them.
            text_states: (P, T, hidden) as ``forward`` returns them.

        Raises:
            ValueError: a side is missing or given twice, or the sides differ in length.
        """
        if (pixel_values is None) == (image_tokens is None):
            raise ValueError("Give either pixel_values or image_tokens, and not both.")
        if (input_ids is None) == (text_states is None):
            raise ValueError("Give either input_ids or text_states, and not both.")
        if input_ids is not None:
            attention_mask = self._word_mask(input_ids, attention_mask)
            text_states = self._text_states(input_ids, attention_mask)
        if pixel_values is not None:
            image_tokens = self.get_image_tokens(pixel_values)
        if text_states is None or attention_mask is None or image_tokens is None:
            raise ValueError("text_states need their attention_mask.")
        if len(image_tokens) != len(text_states):
            raise ValueError(
                f"Got {len(image_tokens)} pictures and {len(text_states)} sentences; "
                "matching needs one of each per pair."
            )
        fused = self.fusion_encoder(text_states, attention_mask, image_tokens)  # (P, T, hidden)
        return self.match_head(fused[:, 0])

    def load_towers(
        self,
        *,
        image_state_dict: Mapping[str, Tensor] | None = None,
        text: str | PathLike | None = None,
    ) -> None:
        """Start the towers from pretrained weights; heads and fusion encoder stay new.

        Args:
            image_state_dict: timm weights of the stem, or of a Swin with this layout if there is
                no stem; a classifier is left out.
            text: name or folder of a BERT with the sizes of ``config.text_config``.

        Raises:
            ValueError: weights do not fit.
        """
        if image_state_dict is not None:
            self.image_model.load_pretrained(image_state_dict)
        if text is not None:
            layers = self.config.text_config.num_hidden_layers
            source = BertModel.from_pretrained(
                text, add_pooling_layer=False, dtype=self.dtype, num_hidden_layers=layers
            )
            try:
                self.text_model.load_state_dict(source.state_dict())
            except RuntimeError as error:
                raise ValueError(
                    f"{text} does not fit config.text_config; build the configuration with "
                    f"BertConfig.from_pretrained({str(text)!r}). {error}"
                ) from error

    def _keep_stem_initialisation(self) -> None:
        """Let timm's own initialisation stand where the stem was built for real.

        On the meta device (``from_pretrained``) there is nothing to keep, and ``_init_weights``
        must fill whatever the checkpoint does not hold.
        """
        stem = self.image_model.stem
        if stem is not None and not next(stem.parameters()).is_meta:
            for module in stem.modules():
                module._is_hf_initialized = True

    def _word_mask(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Mask (C, T) of the words."""
        if attention_mask is not None:
            return attention_mask
        return (input_ids != self.config.bert_config.pad_token_id).long()

    def _text_states(
        self, input_ids: Tensor, mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """Encode sentences (C, T) as states (C, T, hidden)."""
        if not self.training or len(input_ids) < TEXT_PARTS:
            return self.text_model(
                input_ids=input_ids, attention_mask=mask, token_type_ids=token_type_ids
            ).last_hidden_state
        # A batch is as long as its longest sentence, and most are much shorter: taken whole, much
        # of the text side's time would go to padding.
        width = input_ids.shape[1]
        order = mask.sum(1).argsort()
        states = []
        for rows in order.chunk(TEXT_PARTS):
            longest = max(1, int((mask[rows] * torch.arange(1, width + 1).to(mask)).max()))
            types = None if token_type_ids is None else token_type_ids[rows, :longest]
            part = self.text_model(
                input_ids=input_ids[rows, :longest],
                attention_mask=mask[rows, :longest],
                token_type_ids=types,
            ).last_hidden_state
            states.append(F.pad(part, (0, 0, 0, width - longest)))
        return torch.cat(states)[order.argsort()]

    def _pool_text(self, states: Tensor, mask: Tensor) -> Tensor:
        """One vector per sentence: (C, T, hidden) -> (C, hidden)."""
        if self.config.text_pooling == "cls":
            return states[:, 0]
        weights = mask.unsqueeze(-1).to(states.dtype)  # (C, T, 1)
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1.0)


CMPAGLModel.register_for_auto_class("AutoModel")

__all__ = ["CMPAGLModel", "CMPAGLOutput", "CMPAGLPreTrainedModel"]

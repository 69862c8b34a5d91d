"""The CMPAGL-style model: two towers that align, and an encoder that fuses.

"CMPAGL-style, from the published description" (Sun, Zhao, Liu and Kaup, TGRS 2024,
arXiv 2411.14704): a global-Swin image tower and a BERT text tower are aligned on a shared unit
sphere before a multimodal encoder sees them. What the description leaves open is our choice.

The forward pass returns no loss; training code combines the outputs with a loss of its own.
"""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertModel, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .attention_cmpagl import GswinAttention
from .configuration_cmpagl import CMPAGLConfig
from .fusion_cmpagl import FusionEncoder
from .gswin_cmpagl import GswinBlock, GswinModel
from .masking_cmpagl import MaskedBoxes
from .outputs_cmpagl import CMPAGLOutput, asked_for
from .stem_cmpagl import checkpoint_activations
from .text_cmpagl import load_bert, pool_states, read_sentences, word_mask


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
        """(..., features) -> (..., D) float32 unit vectors."""
        features = self.dropout(features)
        projected = self.linear(features)  # (..., D)
        if self.residual is not None:
            projected = projected + self.residual(features)
        return F.normalize(projected.float(), dim=-1)


class CMPAGLPreTrainedModel(PreTrainedModel):
    """Weight initialisation and loading."""

    config_class = CMPAGLConfig
    base_model_prefix = "cmpagl"
    input_modalities = ["image", "text"]  # noqa: RUF012 - transformers' own form
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["GswinBlock", "BertLayer"]  # noqa: RUF012
    _can_record_outputs = {  # noqa: RUF012
        "hidden_states": GswinBlock,
        "attentions": OutputRecorder(GswinAttention, index=1),
    }

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
        scene_head: from unit vectors of either side to ``config.scene_classes``, or ``None``.
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
            config.bert_config, config.fusion_layers, config.embed_dim_per_stage[-1]
        )
        self.match_head = nn.Linear(hidden, 2)
        classes = len(config.scene_classes)
        self.scene_head = nn.Linear(config.projection_dim, classes) if classes else None
        self.logit_scale = nn.Parameter(torch.tensor(config.logit_scale_init))
        self._keep_stem_initialisation()
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> CMPAGLOutput | tuple[Any, ...]:
        """Embed pictures, sentences or both, and compare them.

        Args:
            input_ids: (C, T) token ids.
            attention_mask: (C, T), 1 at words; None takes every id but padding for a word.
            pixel_values: (B, 3, H, W) normalised; any H and W.
            token_type_ids: (C, T), for tokenizers that return them.
            output_hidden_states: as in ``get_image_features`` and ``get_text_features``.
            output_attentions: the same.

        Returns:
            The output; with ``return_dict=False`` a tuple of its parts that are not None.

        Raises:
            ValueError: neither side is given.
        """
        if input_ids is None and pixel_values is None:
            raise ValueError("Got neither input_ids nor pixel_values; give at least one of them.")
        asked = asked_for(hidden_states=output_hidden_states, attentions=output_attentions)
        vision = text = image_embeds = text_embeds = logits = None
        if pixel_values is not None:
            vision = self.get_image_features(pixel_values, return_dict=True, **asked)
            image_embeds = vision.pooler_output
        if input_ids is not None:
            text = self.get_text_features(
                input_ids, attention_mask, token_type_ids, return_dict=True, **asked
            )
            text_embeds = text.pooler_output
        if image_embeds is not None and text_embeds is not None:
            logits = image_embeds @ text_embeds.T * self.logit_scale.float().exp()  # (B, C)
        return CMPAGLOutput(
            logits_per_image=logits,
            logits_per_text=None if logits is None else logits.T,
            image_embeds=image_embeds,
            text_embeds=text_embeds,
            vision_model_output=vision,
            text_model_output=text,
        )

    @capture_outputs(tie_last_hidden_states=False)
    def get_image_features(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """Embed pictures.

        Args:
            pixel_values: (B, 3, H, W).
            output_hidden_states: also return the map (B, h, w, dim) that enters the first block
                and the one that leaves each block; ``capture_outputs`` adds them.
            output_attentions: also return the weights (B, windows, heads, n, n) of each block;
                none unless ``attn_implementation="eager"`` was set.

        Returns:
            (B, D) float32 unit vectors in ``pooler_output``, and the tokens (B, tokens, dim) for
            ``match`` in ``last_hidden_state``; a tuple with ``return_dict=False``.
        """
        encoded = self.image_model(pixel_values.to(self.dtype))
        return BaseModelOutputWithPooling(
            last_hidden_state=encoded.tokens, pooler_output=self.image_projection(encoded.pooled)
        )

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """Embed token ids.

        Args:
            input_ids: (C, T).
            attention_mask: (C, T), 1 at words; None takes every id but padding for a word.
            token_type_ids: (C, T), for tokenizers that return them.
            output_hidden_states: also return the states (C, T, hidden) around each BERT layer.
            output_attentions: also return the weights (C, heads, T, T) of each; none unless
                ``attn_implementation="eager"`` was set.

        Returns:
            (C, D) float32 unit vectors in ``pooler_output``, and the states (C, T, hidden) in
            ``last_hidden_state``; a tuple with ``return_dict=False``.
        """
        mask = word_mask(input_ids, attention_mask, self.config.bert_config)
        asked = asked_for(hidden_states=output_hidden_states, attentions=output_attentions)
        encoded = read_sentences(self.text_model, input_ids, mask, token_type_ids, **asked)
        states = encoded[0]  # (C, T, hidden)
        return BaseModelOutputWithPooling(
            last_hidden_state=states,
            pooler_output=self.text_projection(pool_states(states, mask, self.config.text_pooling)),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )

    def get_input_embeddings(self) -> nn.Module:
        """Return the word table of the text tower."""
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word table of the text tower."""
        self.text_model.set_input_embeddings(value)

    def get_image_tokens(self, pixel_values: Tensor) -> Tensor:
        """Encode pictures (B, 3, H, W) as tokens (B, tokens, dim) for ``match``."""
        return self.image_model(pixel_values.to(self.dtype)).tokens

    def get_patch_features(self, pixel_values: Tensor) -> Tensor:
        """Embed each patch of pictures, through the projection of the whole (our reading).

        Args:
            pixel_values: (B, 3, H, W).

        Returns:
            (B, T, D) float32 unit vectors, row by row of the last stage's map.
        """
        features = self.image_model.patch_features(pixel_values.to(self.dtype))
        return self.image_projection(features)

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
            attention_mask = word_mask(input_ids, attention_mask, self.config.bert_config)
            text_states = read_sentences(self.text_model, input_ids, attention_mask)[0]
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
            load_bert(self.text_model, text)

    def _set_gradient_checkpointing(
        self,
        enable: bool = True,
        *args: Any,  # noqa: ANN401 - whatever transformers hands on
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Checkpoint the stem too, which has a switch of its own."""
        super()._set_gradient_checkpointing(enable, *args, **kwargs)
        checkpoint_activations(self.image_model.stem, enable=enable)

    def _keep_stem_initialisation(self) -> None:
        """Let timm's own initialisation stand where the stem was built for real.

        On the meta device (``from_pretrained``) there is nothing to keep, and ``_init_weights``
        must fill whatever the checkpoint does not hold.
        """
        stem = self.image_model.stem
        if stem is not None and not next(stem.parameters()).is_meta:
            for module in stem.modules():
                module._is_hf_initialized = True


CMPAGLModel.register_for_auto_class("AutoModel")

__all__ = ["CMPAGLModel", "CMPAGLPreTrainedModel"]

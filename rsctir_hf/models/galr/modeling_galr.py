"""GaLR: remote-sensing image-text retrieval from global and local information.

Source: Yuan et al., TGRS 2022, arXiv 2204.09860, with the switches of ``configuration_galr``.
A picture passes a timm backbone, MVSA (global vector), the region branch (local vector), MIDF
(fusion) and a projection; a caption passes a GRU or BERT and a projection. Both end on one unit
sphere.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from .backbone_galr import (
    build_backbone,
    checkpoint_activations,
    load_backbone,
    run_backbone,
)
from .configuration_galr import GaLRConfig
from .fusion_galr import MIDF, MVSA, ImageHead, ScaleDecoupling
from .graph_galr import GaLRRegionGraph, RegionBranch
from .guidance_galr import TextGuidance
from .masking_galr import features_without_boxes
from .outputs_galr import GaLROutput, asked_for, wants
from .patches_galr import patch_features
from .regions_galr import check_region_inputs
from .text_galr import TEXT_ENCODERS, load_bert, prepare_text


class GaLRPreTrainedModel(PreTrainedModel):
    """Loading, saving and starting weights."""

    config: GaLRConfig
    config_class = GaLRConfig
    base_model_prefix = "galr"
    input_modalities = ["image", "text"]  # noqa: RUF012 - transformers' own form
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["BertLayer"]  # noqa: RUF012
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        # from_pretrained builds without memory: timm's unsaved buffers must be made again.
        if hasattr(module, "init_non_persistent_buffers"):
            module.init_non_persistent_buffers()  # type: ignore[operator]
        if isinstance(module, nn.Linear | nn.Conv2d):
            init.xavier_uniform_(module.weight)
        if isinstance(module, GaLRModel):
            init.constant_(module.logit_scale, module.config.logit_scale_init_value)


class GaLRModel(GaLRPreTrainedModel):
    """The dual encoder.

    Attributes:
        gradient_checkpointing: whether ``activation_checkpointing_enable`` was called.
        backbone: timm model without classifier (and without its final convolution where
            ``backbone_pool`` is off).
        mvsa: global vector.
        region_branch: local vector; with ``midf`` ``None`` where ``use_regions`` is off.
        midf: fusion of both.
        image_projection: head into the shared space; ``None`` for ``image_head="none"``.
        text_encoder: ``GRUTextEncoder``, ``UniSkipTextEncoder`` or ``BertTextEncoder``.
        text_projection: head into the shared space.
        text_guidance: AMFMN's score of a pair; ``None`` where the cosine is the score.
        scale_decoupling: of the pooled levels, or none.
        scene_head: from unit vectors of either side to ``config.scene_classes``, or ``None``.
        logit_scale: log(1 / temperature).
    """

    gradient_checkpointing = False

    def __init__(self, config: GaLRConfig) -> None:
        super().__init__(config)
        self.backbone: Any = build_backbone(config)  # timm's methods are beyond nn.Module
        levels = [self.backbone.feature_info[index] for index in config.backbone_indices]
        channels = [level["num_chs"] for level in levels]
        pooled_dim = self.backbone.head_hidden_size if config.backbone_pool else 0
        self.mvsa = MVSA(config, channels, [level["reduction"] for level in levels])
        self.region_branch = RegionBranch(config, channels) if config.use_regions else None
        self.midf = MIDF(config) if config.use_regions else None
        linear = config.image_head == "linear"
        dims = channels if config.backbone_pool_levels else []
        self.image_projection = (
            ImageHead(config, pooled_dim=pooled_dim, level_dims=dims) if linear else None
        )
        self.text_encoder: Any = TEXT_ENCODERS[config.text_encoder_type](config)
        self.text_projection = nn.Sequential(
            nn.Dropout(config.projection_dropout),
            nn.Linear(cast(Any, self.text_encoder).output_dim, config.projection_dim),
            nn.ReLU() if config.text_activation == "relu" else nn.Identity(),
        )
        self.text_guidance = TextGuidance(config) if config.text_guidance != "none" else None
        decoupled, classes = config.scale_decoupling, len(config.scene_classes)
        self.scale_decoupling = ScaleDecoupling(channels) if decoupled else nn.Identity()
        self.scene_head = nn.Linear(config.projection_dim, classes) if classes else None
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        self._keep_backbone_initialisation()
        self.post_init()

    @can_return_tuple
    def get_image_features(
        self,
        pixel_values: Tensor,
        *,
        region_boxes: Tensor | None = None,
        region_scores: Tensor | None = None,
        region_labels: Tensor | None = None,
        region_mask: Tensor | None = None,
        region_features: Tensor | None = None,
        region_adjacency: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """Embed pictures.

        Args:
            pixel_values: (B, 3, H, W), normalised as the processor does.
            region_boxes: (B, M, 4) in pixels of ``pixel_values``; replaces the proposals.
            region_scores: (B, M).
            region_labels: (B, M) int64, -1 for none.
            region_mask: (B, M) bool; all false: global information only.
            region_features: (B, N, F) precomputed nodes, for ``region_source="precomputed"``.
            region_adjacency: (B, N, N) beside them.
            output_hidden_states: also return the levels (B, C_level, h, w) of the backbone.
            output_attentions: also return ``()``: this side has no attention over places.

        Returns:
            (B, D) float32 unit vectors in ``pooler_output``, and the last level as tokens
            (B, h * w, C) in ``last_hidden_state``; a tuple with ``return_dict=False``.

        Raises:
            ValueError: if regions are given that this configuration cannot use, or the backbone
                cannot take pictures of this size (some transformers).
        """
        config = self.config
        check_region_inputs(
            config, pixel_values.shape[0], region_boxes, region_features, region_adjacency
        )
        maps, pooled = run_backbone(self.backbone, pixel_values.to(self.dtype), config)
        vector = self.mvsa(maps)  # (B, fusion_dim)
        if self.region_branch is not None and self.midf is not None:
            if config.region_source == "model":
                size = (pixel_values.shape[-2], pixel_values.shape[-1])
                graph, nodes = self.region_branch.find_graph(
                    maps, size, region_boxes, region_scores, region_labels, region_mask
                )
                adjacency, kept = graph.adjacency, graph.kept
            else:
                nodes, adjacency, kept = self.region_branch.precomputed_nodes(
                    vector, region_features, region_adjacency
                )
            vector = self.midf(vector, *self.region_branch(nodes, adjacency, kept))
        states = tuple(maps) if wants(config, "hidden_states", output_hidden_states) else None
        return BaseModelOutputWithPooling(
            last_hidden_state=maps[-1].flatten(2).transpose(1, 2),  # (B, h * w, C)
            pooler_output=self._project(vector, pooled, maps),
            hidden_states=states,
            attentions=() if wants(config, "attentions", output_attentions) else None,
        )

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """Embed captions.

        Args:
            input_ids: (C, T), padded on the right.
            attention_mask: (C, T); made from the padding id where absent.
            output_hidden_states: also return the states (C, T, hidden) around each BERT layer, or
                what enters and leaves the GRU.
            output_attentions: also return the weights (C, heads, T, T) of each BERT layer; none
                unless ``attn_implementation="eager"`` was set.

        Returns:
            (C, D) float32 unit vectors in ``pooler_output``, and the states (C, T, hidden) in
            ``last_hidden_state``; a tuple with ``return_dict=False``.
        """
        input_ids, attention_mask = prepare_text(
            input_ids, attention_mask, pad_token_id=self.config.pad_token_id or 0
        )
        encoded = self.text_encoder(
            input_ids,
            attention_mask,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        vector = self.text_projection(encoded.pooler_output)
        encoded.pooler_output = F.normalize(vector.float(), dim=-1)
        return encoded

    def pair_scores(self, image_embeds: Tensor, text_embeds: Tensor) -> Tensor:
        """Return (B, C) cosines, or AMFMN's scores, of pictures (B, D) with sentences (C, D)."""
        if self.text_guidance is None:
            return image_embeds @ text_embeds.t()
        with torch.autocast(image_embeds.device.type, enabled=False):
            return self.text_guidance(image_embeds.float(), text_embeds.float())

    def get_input_embeddings(self) -> nn.Module:
        """Return the word table of the text side."""
        return self.text_encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word table of the text side."""
        self.text_encoder.set_input_embeddings(value)

    @torch.no_grad()
    def get_region_graph(
        self,
        pixel_values: Tensor,
        *,
        region_boxes: Tensor | None = None,
        region_scores: Tensor | None = None,
        region_labels: Tensor | None = None,
        region_mask: Tensor | None = None,
    ) -> GaLRRegionGraph:
        """Return the region graph the model reasons over; arguments as ``get_image_features``.

        Raises:
            NotImplementedError: if the model has no graph of its own.
        """
        branch, _ = self._own_branch()
        maps, _ = run_backbone(self.backbone, pixel_values.to(self.dtype), self.config)
        size = (pixel_values.shape[-2], pixel_values.shape[-1])
        return branch.find_graph(
            maps, size, region_boxes, region_scores, region_labels, region_mask
        )[0]

    @torch.no_grad()
    def get_features_without_nodes(
        self,
        pixel_values: Tensor,
        hidden: Tensor,
        *,
        region_boxes: Tensor | None = None,
        region_scores: Tensor | None = None,
        region_labels: Tensor | None = None,
        region_mask: Tensor | None = None,
    ) -> tuple[Tensor, GaLRRegionGraph]:
        """Embed one picture V times, with some nodes of its region graph dropped each time.

        What the global branch and the pooled features see stays: only the region branch changes.

        Args:
            pixel_values: (1, 3, H, W); the backbone sees it once.
            hidden: (V, N) bool, the nodes to drop; see ``RegionBranch.forward_without``.
            region_boxes: as in ``get_image_features``, like the other ``region_*``.
            region_scores: (1, M).
            region_labels: (1, M).
            region_mask: (1, M).

        Returns:
            (V, D) float32 unit vectors, and the graph with all its nodes.

        Raises:
            NotImplementedError: if the model has no graph of its own.
        """
        branch, midf = self._own_branch()
        maps, pooled = run_backbone(self.backbone, pixel_values.to(self.dtype), self.config)
        size = (pixel_values.shape[-2], pixel_values.shape[-1])
        graph, nodes = branch.find_graph(
            maps, size, region_boxes, region_scores, region_labels, region_mask
        )
        local, present = branch.forward_without(graph, nodes, hidden, size)  # (V, fusion_dim)
        vector = midf(self.mvsa(maps).expand(len(hidden), -1), local, present)
        return self._project(vector, pooled, maps), graph

    @torch.no_grad()
    def get_features_without_boxes(self, pixel_values: Tensor, boxes: Tensor) -> Tensor:
        """Embed one picture V times, each without what lies under a box, see ``masking_galr``.

        The graph is that of the model's own regions, also where a search uses a detector's.

        Args:
            pixel_values: (1, 3, H, W); the backbone sees it once.
            boxes: (V, 4) x1, y1, x2, y2 in pixels of ``pixel_values``; a box beside the picture
                takes nothing out.

        Returns:
            (V, D) float32 unit vectors.

        Raises:
            NotImplementedError: the model has no graph of its own, or no means to take cells from.
            ValueError: more than one picture.
        """
        return features_without_boxes(self, pixel_values, boxes)

    def get_patch_features(self, pixel_values: Tensor) -> Tensor:
        """Embed each patch of pictures (B, 3, H, W) as (B, T, D), see ``patches_galr``."""
        return patch_features(self, pixel_values)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        *,
        region_boxes: Tensor | None = None,
        region_scores: Tensor | None = None,
        region_labels: Tensor | None = None,
        region_mask: Tensor | None = None,
        region_features: Tensor | None = None,
        region_adjacency: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> GaLROutput | tuple[Any, ...]:
        """Embed both sides (or one) and compare them.

        Args:
            input_ids: (C, T).
            attention_mask: (C, T).
            pixel_values: (B, 3, H, W).
            region_boxes: as in ``get_image_features``, like the other ``region_*``.
            region_scores: (B, M).
            region_labels: (B, M).
            region_mask: (B, M).
            region_features: (B, N, F).
            region_adjacency: (B, N, N).
            token_type_ids: taken because BERT tokenizers give them; of no effect.
            output_hidden_states: as in ``get_image_features`` and ``get_text_features``.
            output_attentions: the same.

        Returns:
            The output; with ``return_dict=False`` a tuple of its parts that are not None.

        Raises:
            ValueError: if neither side is given.
        """
        if input_ids is None and pixel_values is None:
            raise ValueError("Neither input_ids nor pixel_values was given; give one or both.")
        asked = asked_for(hidden_states=output_hidden_states, attentions=output_attentions)
        vision = text = images = texts = per_image = None
        if pixel_values is not None:
            vision = self.get_image_features(
                pixel_values,
                region_boxes=region_boxes,
                region_scores=region_scores,
                region_labels=region_labels,
                region_mask=region_mask,
                region_features=region_features,
                region_adjacency=region_adjacency,
                return_dict=True,
                **asked,
            )
            images = vision.pooler_output
        if input_ids is not None:
            text = self.get_text_features(input_ids, attention_mask, return_dict=True, **asked)
            texts = text.pooler_output
        if images is not None and texts is not None:
            per_image = self.logit_scale.exp() * self.pair_scores(images, texts)  # (B, C)
        return GaLROutput(
            logits_per_image=per_image,
            logits_per_text=None if per_image is None else per_image.t(),
            image_embeds=images,
            text_embeds=texts,
            vision_model_output=vision,
            text_model_output=text,
        )

    def load_towers(
        self,
        *,
        image_state_dict: Mapping[str, Tensor] | None = None,
        text: str | PathLike | None = None,
    ) -> None:
        """Start backbone and BERT from pretrained weights; everything else stays new.

        Args:
            image_state_dict: weights with the keys of the timm backbone; a classifier among
                them is left out.
            text: name or folder of a BERT with the sizes of ``config.text_config``.

        Raises:
            ValueError: if the weights do not fit.
        """
        if image_state_dict is not None:
            load_backbone(self.backbone, image_state_dict)
        if text is None:
            return
        if self.config.text_encoder_type != "bert":
            raise ValueError(
                f"{text} is for text_encoder_type='bert', but this model's is "
                f"{self.config.text_encoder_type!r}; use load_word_vectors for its word table."
            )
        load_bert(self.text_encoder.bert, text)

    def _set_gradient_checkpointing(
        self,
        enable: bool = True,
        *args: Any,  # noqa: ANN401 - whatever transformers hands on
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Checkpoint the backbone too, which has a switch of its own."""
        super()._set_gradient_checkpointing(enable, *args, **kwargs)
        checkpoint_activations(self.backbone, enable=enable)

    def _keep_backbone_initialisation(self) -> None:
        """Let timm's own initialisation stand where the backbone was built for real.

        On the meta device (``from_pretrained``) there is nothing to keep, and ``_init_weights``
        must fill whatever the checkpoint does not hold.
        """
        if not next(self.backbone.parameters()).is_meta:
            for module in self.backbone.modules():
                module._is_hf_initialized = True

    def _own_branch(self) -> tuple[RegionBranch, MIDF]:
        """Return the modules of the region path, or say why there is no graph to show."""
        if self.region_branch is None or self.midf is None or self.config.region_source != "model":
            raise NotImplementedError(
                f"This model was built with use_regions={self.config.use_regions} and "
                f"region_source={self.config.region_source!r}; a region graph needs "
                "use_regions=True and region_source='model'."
            )
        return self.region_branch, self.midf

    def _project(self, vector: Tensor, pooled: Tensor | None, maps: Sequence[Tensor]) -> Tensor:
        """Bring fused vectors (B, ``fusion_dim``) onto the unit sphere, (B, D)."""
        if self.image_projection is not None:
            means = [level.mean(dim=(-2, -1)) for level in self.scale_decoupling(maps)]
            vector = self.image_projection(vector, pooled, means)  # (B, D)
        return F.normalize(vector.float(), dim=-1)


GaLRModel.register_for_auto_class("AutoModel")

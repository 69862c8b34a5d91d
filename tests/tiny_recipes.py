"""What makes any shipped recipe a run of seconds: tiny towers, random weights, two epochs."""

TINY = {
    "image_weights": "none",
    "text_weights": "none",
    "text_layers": "0",
    "max_tokens": "12",
    "num_train_epochs": "2",
    "per_device_train_batch_size": "3",
    "per_device_eval_batch_size": "4",
    "frozen_epochs": "{}",
    "lr_factors": "{}",
    "report_to": "none",
    "use_cpu": "true",
    "dataloader_num_workers": "0",
    "dataloader_persistent_workers": "false",
    "complete": "false",
}
TINY_CONFIG = {
    "cmpagl": """{image_size: 32, embed_dim: 8, depths: [1, 1], num_heads: [2, 2], window_size: 4,
        projection_dim: 8, fusion_layers: 1, text_config: {vocab_size: 30522, hidden_size: 8,
        num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 16}}""",
    "galr": """{image_size: 32, backbone: resnet10t, mvsa_grid: 2, max_regions: 4, region_dim: 8,
        graph_dims: [8, 8], fusion_dim: 8, text_hidden_size: 8, embedding_dim: 8,
        projection_dim: 8}""",
}

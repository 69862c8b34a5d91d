"""A model, rows and a Trainer that train in a second."""

import datasets
from transformers import BertConfig, TrainerCallback, set_seed

from rsctir_hf.data.stream import StreamedTable
from rsctir_hf.data.tables import standardise
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.models.cmpagl import CMPAGLConfig, CMPAGLModel, CMPAGLProcessor
from rsctir_hf.models.galr import build_word_tokenizer
from rsctir_hf.training.recipe_args import RetrievalTrainingArguments
from rsctir_hf.training.retrieval_trainer import RetrievalTrainer
from rsctir_hf.training.sets import TrainingData
from tests.miniature import draw_picture, hub_table, sentences

#: Of every Trainer that trains in a second.
QUICK = {
    "save_strategy": "steps",
    "logging_steps": 1,
    "average_decay": 0.9,
    "report_to": "none",
    "use_cpu": True,
    "disable_tqdm": True,
}


def tiny_rows():
    return [{"image": draw_picture(n), "captions": sentences(n)} for n in range(10)]


def tiny_processor(rows):
    tokenizer = build_word_tokenizer([c for row in rows for c in row["captions"]])
    return CMPAGLProcessor.build(tokenizer, image_size=16)


def tiny_model(processor, **options):
    set_seed(0)
    text = BertConfig(
        vocab_size=len(processor.tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    sizes = {"image_size": 16, "embed_dim": 8, "depths": [1], "num_heads": [2], "window_size": 2}
    return CMPAGLModel(
        CMPAGLConfig(text_config=text, projection_dim=8, fusion_layers=1, **sizes, **options)
    )


def save(encoder, folder):
    encoder.model.save_pretrained(folder)
    encoder.processor.save_pretrained(folder)


def make_trainer(
    folder, rows, processor, *, validation=None, callbacks=None, teachers=None, **options
):
    defaults = QUICK | {
        "num_train_epochs": 3,
        "per_device_train_batch_size": 4,
        "eval_strategy": "epoch",
        "save_steps": 2,
        "learning_rate": 1e-2,
        "crop_scale": [0.5, 1.0],
        "frozen_epochs": {"text_model": 1},
        "matching_weight": 1.0,
    }
    args = RetrievalTrainingArguments(output_dir=str(folder), **(defaults | options))
    sets = rows if isinstance(rows, dict) else {"ucm": rows}
    data = TrainingData(sets, validation or {"ucm": rows[:4]}, teachers)
    encoder = Encoder(tiny_model(processor), processor)
    return RetrievalTrainer(encoder, args, data=data, callbacks=callbacks)


def stream_of(count):
    table = standardise(hub_table(count), source="hub")
    table = table.cast_column("image", datasets.Image(decode=False))
    stream = StreamedTable(table.to_iterable_dataset(num_shards=2), table["captions"], 4)
    return {"ucm": stream}


class StopAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= self.step


def curve(trainer):
    return [
        (entry["step"], entry.get("loss"), entry.get("eval_mR"))
        for entry in trainer.state.log_history
        if "loss" in entry or "eval_mR" in entry
    ]

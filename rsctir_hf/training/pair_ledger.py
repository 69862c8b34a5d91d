"""What objectives tell of single pairs, as a table in the run's folder after every epoch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rsctir_hf.collection.table_files import csv_text
from rsctir_hf.data.left_out import CAPTION, PICTURE
from rsctir_hf.data.row_facts import without_pictures
from rsctir_hf.files.atomic import write_atomically
from rsctir_hf.training.objectives.objective import Objective

FOLDER = "_pairs"  # which no push takes


class PairLedger(TrainerCallback):
    """Writes ``_pairs/NAME_EPOCH.csv`` for each objective that has something to tell.

    Args:
        objectives: by name.
        sets: name -> training rows, whose pairs are numbered through in this order.
    """

    def __init__(self, objectives: Mapping[str, Objective], sets: Mapping[str, Any]) -> None:
        self.objectives, self.sets = objectives, sets

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **_: Any,  # noqa: ANN401
    ) -> None:
        """Write the tables of the epoch that ends."""
        for name, objective in self.objectives.items():
            told = objective.close_epoch()
            if not (told.get("pair") and state.is_world_process_zero):
                continue
            pairs = self._pairs()
            rows = [
                {PICTURE: pairs[pair][0], CAPTION: pairs[pair][1]}
                | {column: values[place] for column, values in told.items() if column != "pair"}
                for place, pair in enumerate(told["pair"])
            ]
            file = (
                Path(args.output_dir or ".") / FOLDER / f"{name}_{round(state.epoch or 0):03}.csv"
            )
            write_atomically(file, csv_text(rows).encode("utf-8-sig"))

    def _pairs(self) -> list[tuple[str, str]]:
        return [
            (str(row.get("file_name", number)), caption)
            for table in self.sets.values()
            for number, row in enumerate(without_pictures(table))
            for caption in row["captions"]
        ]

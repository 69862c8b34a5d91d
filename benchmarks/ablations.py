"""What each part of the two families is worth: short trainings, paired over the same seeds.

    python benchmarks/ablations.py --data data/ucm_captions       # train what is missing
    python benchmarks/ablations.py --only galr_regions --seeds 0  # a part of it

A row is a recipe of ``training/recipes/ablations`` scored on UCM-Captions validation, or a rerank
of the reports such a run leaves behind. Both towers stay frozen at 128 px, so figures are far
below those of a full training; what counts is the difference to the row's reference over the same
seeds, which give both the same pictures, crops, captions and batches. ``results/ablations.json`` is
written after each run, and a run it holds is not repeated unless its recipe has changed.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from report import NONE, RESULTS, run
from series import PROCESSOR, RECIPES, Row, Series, compared_cells

ROWS = (
    Row("GaLR, global only", "galr_global_only"),
    Row("GaLR, + regions (plain graph)", "galr_regions", "GaLR, global only"),
    Row("GaLR, + DREA (default)", "galr_base", "GaLR, + regions (plain graph)"),
    Row("GaLR, regions of a detector", "galr_detector_regions", "GaLR, + DREA (default)"),
    Row("GaLR, MIDF as in the paper", "galr_midf_paper", "GaLR, + DREA (default)"),
    Row("GaLR, MIDF as released", "galr_midf_released", "GaLR, + DREA (default)"),
    Row("GaLR, pooled levels off", "galr_no_levels", "GaLR, + DREA (default)"),
    Row("GaLR, MR rerank", "galr_base", "GaLR, + DREA (default)", "mr"),
    Row("CMPAGL, local windows only", "cmpagl_local_only"),
    Row("CMPAGL, concat", "cmpagl_concat", "CMPAGL, local windows only"),
    Row("CMPAGL, cross (default)", "cmpagl_base", "CMPAGL, local windows only"),
    Row("CMPAGL, pre-alignment off", "cmpagl_no_pre_alignment", "CMPAGL, cross (default)"),
    Row("CMPAGL, intra-class term off", "cmpagl_no_intra_class", "CMPAGL, cross (default)"),
    Row("CMPAGL, pooled levels off", "cmpagl_no_levels", "CMPAGL, cross (default)"),
    Row("CMPAGL, two-stage match()", "cmpagl_base", "CMPAGL, cross (default)", "match"),
    Row("CMPAGL, SMR, all queries at once", "cmpagl_base", "CMPAGL, cross (default)", "smr"),
    Row("CMPAGL, SMR, live with the bank", "cmpagl_base", "CMPAGL, cross (default)", "smr_bank"),
)
COLUMNS = ("Row", "mR", "Compared with", "Difference", "By seed", "Processor minutes", "Recipe")


def cells(row: Mapping[str, Any]) -> list[str]:
    """Cells of one row."""
    minutes = f"{row[PROCESSOR]:.1f}" if row["score"] == "none" else NONE
    return [*compared_cells(row), minutes, f"`{Path(row['recipe']).stem}`"]


SERIES = Series(ROWS, RECIPES / "ablations", RESULTS / "ablations.json", COLUMNS, cells)

if __name__ == "__main__":
    run(partial(SERIES.main, __doc__))

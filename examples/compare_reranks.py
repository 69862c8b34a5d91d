"""Score models with each rerank on a captioned folder: recall both ways and its mean, mR.

    python examples/compare_reranks.py
    python examples/compare_reranks.py data/ucm_captions/test checkpoints/galr-rs

The folder holds pictures and ``metadata.jsonl``: {"file_name": ..., "captions": [...]} a line.
"""

import sys
from pathlib import Path

from rsctir_hf import Encoder
from rsctir_hf.data.benchmarks import load_captioned_folder
from rsctir_hf.evaluation import report_on, similarity_matrix
from rsctir_hf.sample import sample_folder

folder = Path(sys.argv[1] if len(sys.argv) > 1 else sample_folder())
models = sys.argv[2:] or ["checkpoints/cmpagl-rs", "checkpoints/galr-rs"]
rows = load_captioned_folder(folder.parent, folder.name)
print(f"{len(rows)} pictures of {folder.name}\n\n| Model | Rerank | R@1 | mR | 95 % interval |")
print("| --- | --- | --- | --- | --- |")

for name in models:
    encoder = Encoder.from_pretrained(name)
    scores = similarity_matrix(encoder, rows)  # pictures are embedded once
    for rerank in ("none", "smr", "mr"):
        report = report_on(scores, encoder, rerank=rerank)
        low, high = report.interval
        print(
            f"| {Path(name).name} | {rerank} | {report.metrics['t2i_R@1']:.1f} from text "
            f"| {report.metrics['mR']:.1f} | {low:.1f} to {high:.1f} |"
        )

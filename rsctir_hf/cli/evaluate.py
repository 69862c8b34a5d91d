"""``rsctir evaluate``: score a model on a captioned data set."""

from rsctir_cli.commands import Evaluate
from rsctir_cli.options import Rerank, Task
from rsctir_hf.cli.labels import evaluate_by_labels
from rsctir_hf.cli.output import Bar, check_writable, write_report
from rsctir_hf.cli.sources import SAMPLE, load_options, open_rows
from rsctir_hf.data.benchmarks import BENCHMARKS, refuse_other_data
from rsctir_hf.embedding.encode import tell_cut
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import QueryError
from rsctir_hf.evaluation import evaluate_retrieval
from rsctir_hf.hub.card_tables import OTHER_SETS
from rsctir_hf.sample import read_caption_bank


def evaluate(asked: Evaluate) -> None:
    """Score a model, and print or write the report."""
    if asked.output is not None:
        check_writable("--output", asked.output)  # before all the work
    if asked.task == Task.LABELS:
        evaluate_by_labels(asked)
        return
    if asked.label_head is not None:
        raise QueryError("--label-head is that of --task labels. Leave it out, or ask for labels.")
    if asked.temperature is not None and asked.rerank != Rerank.SMR:
        raise QueryError("--temperature is that of --rerank smr. Leave it out, or ask for smr.")
    rows = open_rows(asked.data, split=asked.split, benchmark=asked.benchmark, columns=asked)
    if asked.benchmark is not None:
        refuse_other_data(asked.benchmark, rows, split=asked.split, source=asked.data)
    encoder = Encoder.from_pretrained(asked.model, **load_options(asked))
    captions = [text for said in rows["captions"] for text in said]
    tell_cut(encoder.model, encoder.processor, captions)
    needs_bank = asked.rerank in (Rerank.SMR, Rerank.MR)
    with Bar("embedding") as bar:
        report = evaluate_retrieval(
            encoder,
            rows,
            rerank=asked.rerank.value,
            temperature=asked.temperature,
            bank=read_caption_bank(asked.bank) if needs_bank else None,
            symmetries=asked.symmetries,
            workers=asked.workers,
            progress=bar.show,
        )
    revision = encoder.revision if encoder.adapter is None else None
    taken = {*BENCHMARKS, *OTHER_SETS} - {SAMPLE}  # no folder passes for a set of its name
    named = report.with_source(
        model=asked.adapter or asked.model,
        model_revision=revision or f"weights:{encoder.fingerprint}",
        data=asked.benchmark or (f"./{asked.data}" if asked.data in taken else asked.data),
        split=asked.split,
        seed=asked.seed,
    )
    write_report(named, asked.output, as_json=asked.as_json)

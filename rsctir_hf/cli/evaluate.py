"""``rsctir evaluate``: score a model on a captioned data set."""

from rsctir_cli.commands import Evaluate, Rerank
from rsctir_hf.cli.output import Bar, check_writable, write_report
from rsctir_hf.cli.sources import load_options, open_rows
from rsctir_hf.data.benchmarks import refuse_other_data
from rsctir_hf.embedding.encoder import Encoder
from rsctir_hf.errors import QueryError
from rsctir_hf.evaluation import evaluate_retrieval
from rsctir_hf.loading.checks import weights_fingerprint
from rsctir_hf.sample import read_caption_bank


def evaluate(asked: Evaluate) -> None:
    """Score a model, and print or write the report."""
    if asked.output is not None:
        check_writable("--output", asked.output)  # before all the work
    if asked.temperature is not None and asked.rerank != Rerank.SMR:
        raise QueryError("--temperature is that of --rerank smr. Leave it out, or ask for smr.")
    rows = open_rows(asked.data, split=asked.split, benchmark=asked.benchmark)
    if asked.benchmark is not None:
        refuse_other_data(asked.benchmark, rows, split=asked.split, source=asked.data)
    encoder = Encoder.from_pretrained(asked.model, **load_options(asked))
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
    named = report.with_source(
        model=asked.model,
        model_revision=encoder.revision or f"weights:{weights_fingerprint(encoder.model)}",
        data=asked.benchmark or asked.data,
        split=asked.split,
        seed=asked.seed,
    )
    write_report(named, asked.output, as_json=asked.as_json)

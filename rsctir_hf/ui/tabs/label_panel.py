"""Tick boxes of labels: what pictures show and what they do not, as a query of its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from rsctir_hf.errors import RsctirError
from rsctir_hf.labels.expression import any_spelling
from rsctir_hf.ui.server.events import MODEL
from rsctir_hf.ui.tabs.controls import arriving
from rsctir_hf.ui.tabs.search_answers import Answer, Controls, SearchHandlers
from rsctir_hf.ui.views.cards import refusal
from rsctir_hf.ui.views.notices import NO_TICKS
from rsctir_hf.ui.views.results import NO_RERANK

ALL_OF_THEM, ANY_OF_THEM = "all of them", "any of them"


class LabelPanel:
    """Labels to tick, closed at first; which there are is known once it is opened."""

    def __init__(self) -> None:
        with gr.Accordion(
            "Tick what is in the scene", open=False, elem_id="rs-labels"
        ) as self.opened:
            self.said = gr.HTML("")
            self.shows = gr.CheckboxGroup([], label="What pictures show", elem_id="rs-shows")
            self.how = gr.Radio(
                [ALL_OF_THEM, ANY_OF_THEM], value=ALL_OF_THEM, label="Of these, a picture shows"
            )
            self.lacks = gr.CheckboxGroup([], label="and does not show", elem_id="rs-lacks")
            self.go = gr.Button("Search by labels", variant="primary", size="sm")

    def bind(
        self,
        handlers: SearchHandlers,
        controls: Sequence[gr.blocks.Block],
        outputs: Sequence[gr.blocks.Block],
    ) -> None:
        """Bind the events; ``controls`` is what ``Controls`` takes."""
        offered = [self.said, self.shows, self.lacks]
        self.opened.expand(lambda: offer(handlers), None, offered, **MODEL)
        ticked = [self.shows, self.how, self.lacks, *controls]
        self.go.click(lambda *given: find(handlers, *given), ticked, outputs, **MODEL).then(
            **arriving("rs-message")
        )


def offer(handlers: SearchHandlers) -> tuple[Any, ...]:
    """Return the labels of the model that is launched; says so where it brings none."""
    try:
        names = list(handlers.bench.retriever().labels.head().labels)
    except RsctirError as error:
        return refusal(error, "There is nothing to tick"), gr.skip(), gr.skip()
    choices = [(any_spelling(name), name) for name in names]
    return "", gr.update(choices=choices), gr.update(choices=choices)


def find(
    handlers: SearchHandlers,
    shows: Sequence[str],
    how: str,
    lacks: Sequence[str],
    *controls: Any,  # noqa: ANN401 - what ``Controls`` takes
) -> Answer:
    """Answer what is ticked, the filters stay; without a tick the gallery is there to browse."""
    given = Controls(*controls)
    asked = replace(
        given.kept,
        q="",
        like="",
        parts=(),
        page=1,
        open=0,
        marked=False,
        labels=ticked(shows or (), lacks or (), any_of=how == ANY_OF_THEM),
        type=given.type,
        rerank=NO_RERANK,
        results=int(given.top_k),
    )
    answer = handlers.answer(asked, given)
    return answer if asked.labels else (NO_TICKS, *answer[1:])


def ticked(shows: Sequence[str], lacks: Sequence[str], *, any_of: bool) -> str:
    """Return what is ticked as an expression; empty for nothing."""
    wanted = [f'"{name}"' for name in shows]
    joined = f"({' or '.join(wanted)})" if any_of and len(wanted) > 1 else " and ".join(wanted)
    return " and ".join(filter(None, [joined, *(f'not "{name}"' for name in lacks)]))

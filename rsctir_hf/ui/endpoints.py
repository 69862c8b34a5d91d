"""The named endpoints for ``gradio_client``: JSON in, JSON out, on what was launched.

With ``--mcp`` the same functions are tools for language models: gradio takes a tool's name and
description from the name and docstring of the function.
"""

import json
from collections.abc import Callable
from typing import Any

import gradio as gr

from rsctir_hf.errors import QueryError
from rsctir_hf.regions.graph import to_node_link_json
from rsctir_hf.search.retriever import Hit, confidence, describe_query
from rsctir_hf.ui.server.events import MODEL, told_to_visitors
from rsctir_hf.ui.server.uploads import picture_input, read_upload
from rsctir_hf.ui.server.workbench import Workbench
from rsctir_hf.ui.views.results import for_pictures, hit_record

MOST_RESULTS = 100
_RERANK = "none, smr, mr, match or fine"


class Endpoints:
    """The searches that clients call.

    Every answer is a mapping. Errors become a ``gr.Error``, which a client receives as an
    ``AppError`` with the same text.
    """

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench

    def find_pictures(
        self, query: str, rerank: str = "none", top_k: int = 5, with_images: bool = False
    ) -> dict[str, Any]:
        """Find pictures of the gallery, seen from above, that show what a sentence says.

        Args:
            query: English words for what the picture shows, such as: boats beside a pier.
            rerank: none; smr or mr, which move down pictures that fit everything; match; or fine,
                over an index with patch tokens.
            top_k: how many pictures, 1 to 100.
            with_images: also return each picture, small, as a data URI.

        Returns:
            How well the best fits (fits, perhaps or nothing; null while pictures are still being
            indexed), and the results, best first: rank, score (cosine), level, file name, caption.
        """
        with told_to_visitors():
            hint = describe_query(query)
            retriever = self.bench.retriever()
            hits = retriever.search(query, top_k=limited(top_k), rerank=rerank)
        answer = self._answer(hits, rerank, with_images=with_images)
        return answer | {"hint": hint}

    def find_sentences(
        self, picture: str | None, rerank: str = "none", top_k: int = 5
    ) -> dict[str, Any]:
        """Find the sentences of the caption bank that fit a picture seen from above best.

        Args:
            picture: the picture, as a data: URI or an upload; addresses are not fetched.
            rerank: none, smr, mr, match or fine.
            top_k: how many sentences, 1 to 100.

        Returns:
            The same of sentences: rank, score (cosine), level, sentence.
        """
        with told_to_visitors():
            retriever = self.bench.retriever()
            hits = retriever.caption_candidates(
                read_upload(picture or ""), top_k=limited(top_k), rerank=rerank
            )
        return self._answer(hits, rerank)

    def find_similar_pictures(
        self, picture: str | None, rerank: str = "none", top_k: int = 5, with_images: bool = False
    ) -> dict[str, Any]:
        """Find pictures of the gallery that are like a picture seen from above.

        Args:
            picture: the picture, as a data: URI or an upload; addresses are not fetched.
            rerank: none, smr or mr.
            top_k: how many pictures, 1 to 100.
            with_images: also return each picture, small, as a data URI.

        Returns:
            How well the best fits (fits, perhaps or nothing; null while pictures are still being
            indexed), and the results, best first: rank, score (cosine), level, file name, caption.
        """
        with told_to_visitors():
            image = read_upload(picture or "")
            order = for_pictures(rerank)
            hits = self.bench.retriever().search(image=image, top_k=limited(top_k), rerank=order)
        return self._answer(hits, order, with_images=with_images)

    def region_graph(self, picture: str | None) -> dict[str, Any]:
        """Find the regions of a picture that the model looks at and how it ties them together.

        Args:
            picture: the picture, as a data: URI or an upload; addresses are not fetched.

        Returns:
            A node-link graph: a node for each region (box in pixels, salience, kept or dropped and
            why), an edge for each tie with its weight.
        """
        with told_to_visitors():
            found = self.bench.region_retriever().region_graph(read_upload(picture or ""))
        return json.loads(to_node_link_json(found))

    def _answer(self, hits: list[Hit], rerank: str, *, with_images: bool = False) -> dict[str, Any]:
        gallery = self.bench.gallery
        results = [hit_record(hit, gallery, rerank=rerank, with_images=with_images) for hit in hits]
        said = {"confidence": confidence(hits), "rerank": rerank}
        return {"results": results, **said, "model": self.bench.model_name}


def limited(top_k: float) -> int:
    """Return ``top_k`` within 1 and ``MOST_RESULTS``.

    Raises:
        QueryError: it is no number.
    """
    if not isinstance(top_k, int | float) or top_k != top_k:  # NaN is not itself
        raise QueryError(f"top_k is {top_k!r}; expected a number from 1 to {MOST_RESULTS}.")
    return int(min(max(top_k, 1), MOST_RESULTS))


def build_endpoints(bench: Workbench) -> None:
    """Register the endpoints; their components are never shown."""
    calls = Endpoints(bench)
    with gr.Column(visible=False):
        query = gr.Textbox(label="What the picture shows")
        picture = picture_input("Picture")
        rerank = gr.Textbox("none", label=_RERANK)
        top_k = gr.Number(5, precision=0, label="Number of results")
        with_images = gr.Checkbox(False, label="Return small pictures as data URIs")
        answer = gr.JSON(label="Answer")
        button = gr.Button("Call")
    signatures: dict[str, tuple[Callable[..., Any], list[gr.components.Component]]] = {
        "text_to_image": (calls.find_pictures, [query, rerank, top_k, with_images]),
        "image_to_text": (calls.find_sentences, [picture, rerank, top_k]),
        "image_to_image": (calls.find_similar_pictures, [picture, rerank, top_k, with_images]),
        "region_graph": (calls.region_graph, [picture]),
    }
    for name, (call, inputs) in signatures.items():
        button.click(call, inputs, answer, **public(name))


def public(name: str) -> dict[str, Any]:
    """Return how an endpoint is bound that clients see by that name."""
    return MODEL | {"api_name": name, "api_visibility": "public"}

"""Searching a gallery: query, hits, reranks, and the Retriever that puts them together."""

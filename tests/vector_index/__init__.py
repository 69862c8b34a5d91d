"""Tests of the vector indexes: one contract, each engine, folders, the way through the retriever."""

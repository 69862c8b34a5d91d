"""Tests of the vector indexes: the contract, each engine, folders, the retriever on each."""

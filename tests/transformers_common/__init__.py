"""transformers' own common tests, run over our model families."""

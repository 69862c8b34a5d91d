"""Training a retrieval model: recipe, sets, start, trainer, teachers and report."""

"""What the page shows: cards, figures, tables."""

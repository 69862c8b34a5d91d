"""What the page shows: cards, figures, tables, of what the server holds."""

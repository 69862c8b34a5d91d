"""Models of others: their files, checks of their weights, formats, and refusals of the Hub."""

"""The tabs of the page: where a visitor asks, and which views answer."""

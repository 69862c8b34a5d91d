"""What stands behind the page: settings, models, galleries, uploads, limits; it knows no HTML."""

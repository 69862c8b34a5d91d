"""What stands behind the page: settings, models, galleries, limits, sessions."""

"""Tests of the app's page, handlers and figures."""

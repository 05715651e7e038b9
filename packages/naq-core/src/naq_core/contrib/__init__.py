"""Middleware for Django, Flask and SQLAlchemy; each module needs its package, and nothing imports it unasked."""

"""Turns data into HTML."""

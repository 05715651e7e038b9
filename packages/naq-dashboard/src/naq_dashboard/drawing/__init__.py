"""Layouts of the drawings on pages."""

"""Builds NAQ's documentation site from the Markdown files of the repository and from the code (`hatch run docs:build`)."""

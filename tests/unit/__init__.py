"""Tests of single modules, without a server unless they say so."""

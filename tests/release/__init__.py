"""The release: one version, six distributions, and what has to hold before they are published (docs/releasing.md)."""

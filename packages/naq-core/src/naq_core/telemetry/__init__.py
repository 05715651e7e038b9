"""Middleware for OpenTelemetry, Sentry and structlog; each module needs its package, and nothing imports it unasked."""

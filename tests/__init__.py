"""The tests of NAQ, all against a real nats-server."""

"""Benchmarks: what NAQ does, beside what plain nats-py does with the same work in the same run."""

"""The only code that speaks nats-py's API and JetStream's JSON."""

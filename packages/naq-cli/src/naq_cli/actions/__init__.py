"""What the commands do once their options are read; these modules may import NATS."""

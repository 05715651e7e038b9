"""Files for deploying NAQ, made from its settings: `naq generate`."""

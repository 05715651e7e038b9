"""NAQ in web frameworks. Each module needs its framework, an extra of naq-client, and nothing imports it unasked."""

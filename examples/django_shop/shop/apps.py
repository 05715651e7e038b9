"""The application."""

from django.apps import AppConfig


class ShopConfig(AppConfig):  # type: ignore[misc] # Django has no types
    """Connects the signals once the models are there."""

    name = "shop"

    def ready(self) -> None:
        """Import the receivers."""
        from shop import receivers  # noqa: F401, PLC0415 - they use models

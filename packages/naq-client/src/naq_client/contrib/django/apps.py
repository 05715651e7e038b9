"""What Django knows of this application."""

try:
    from django.apps import AppConfig
except ImportError as error:
    raise ImportError('Django is not installed: pip install "naq-client[django]"') from error

__all__ = ["NaqConfig"]


class NaqConfig(AppConfig):  # type: ignore[misc] # Django has no types
    """The application `naq`."""

    name = "naq_client.contrib.django"
    label = "naq"
    verbose_name = "NAQ"
    default_auto_field = "django.db.models.BigAutoField"

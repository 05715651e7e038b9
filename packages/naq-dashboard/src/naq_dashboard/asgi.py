"""The application for ASGI servers, with settings from the environment: `uvicorn naq_dashboard.asgi:app`."""

from naq_dashboard.app import create_app

__all__ = ["app"]

app = create_app()

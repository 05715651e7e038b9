"""The settings of the project."""

import os

import django

BACKEND = "naq_client.contrib.django.backend.NaqBackend"

SECRET_KEY = os.environ.get("SHOP_SECRET", "for this example only")
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "shop.urls"
MIDDLEWARE = ["shop.views.Later"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", "shop.sqlite3"),
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }
}
INSTALLED_APPS = ["shop.apps.ShopConfig", "naq_client.contrib.django"]
if django.VERSION < (6, 0):
    INSTALLED_APPS.append("django_tasks")  # which has django.tasks for older ones
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

TASKS = {
    "default": {
        "BACKEND": BACKEND,
        "QUEUES": ["default", "mail"],
        "OPTIONS": {"max_retries": 2, "retry_delay": 0.05, "when": "on_commit"},
    },
    "outbox": {"BACKEND": BACKEND, "OPTIONS": {"when": "outbox"}},
}

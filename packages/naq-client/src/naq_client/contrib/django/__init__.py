"""Django: a backend for `django.tasks`, an outbox, and `manage.py naq_worker`. Add this package to `INSTALLED_APPS`."""

"""The outbox."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc] # Django has no types
    """Creates the table."""

    initial = True
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar[list[object]] = [
        migrations.CreateModel(
            name="OutboxJob",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("job_id", models.CharField(max_length=255, unique=True)),
                ("function", models.CharField(max_length=512)),
                ("backend", models.CharField(blank=True, max_length=255)),
                ("packed", models.TextField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("error", models.TextField(blank=True)),
            ],
            options={
                "db_table": "naq_outbox",
                "verbose_name": "job of the outbox",
                "verbose_name_plural": "jobs of the outbox",
            },
        ),
    ]

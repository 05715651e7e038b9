"""What a worker imports first, so that jobs can use models: `naq worker --imports naq_client.contrib.django.worker`.

`DJANGO_SETTINGS_MODULE` names the settings. The modules `tasks` of all applications are imported, so that their tasks are known.
"""

import django
from django.utils.module_loading import autodiscover_modules

django.setup()
autodiscover_modules("tasks")

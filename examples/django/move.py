"""Creates users in a Django project and exports them with `dumpdata`.

Prints JSON lines for `accounts-server import`: the fields of the dump, with the id of each user.
"""

import io
import json

import service  # noqa: F401  (sets Django up)
from django.contrib.auth import get_user_model
from django.core.management import call_command

call_command("migrate", verbosity=0)
users = get_user_model().objects
users.create_user(
    "ada", "ada@example.com", "a password of Django's", first_name="Ada", last_name="King"
)
users.create_superuser("root", "root@example.com", "another of Django's")
users.create_user("left", "left@example.com", "no longer needed", is_active=False)

dump = io.StringIO()
call_command("dumpdata", "auth.user", stdout=dump)
for user in json.loads(dump.getvalue()):
    print(json.dumps({"id": user["pk"], **user["fields"]}))

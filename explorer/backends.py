from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.db import connection

from explorer.models import Account

FIELDS = [field.attname for field in User._meta.concrete_fields]
COLUMNS = ", ".join(f"person.{field.column}" for field in User._meta.concrete_fields)
READ = f"""
SELECT {COLUMNS}, account.role
FROM auth_user AS person LEFT JOIN explorer_account AS account ON account.user_id = person.id
WHERE person.id = %s
"""  # noqa: S608  of nothing but our own columns


class Backend(ModelBackend):
    """Django's own, which brings the role along, by one plain statement (as sessions.py, and why, says)."""

    def get_user(self, user_id: Any) -> User | None:
        with connection.cursor() as cursor:
            cursor.execute(READ, [int(user_id)])
            row = cursor.fetchone()
        if row is None:
            return None
        user = User.from_db(connection.alias, FIELDS, row[:-1])
        account = None if row[-1] is None else Account(user=user, role=row[-1])
        User._meta.get_field("account").set_cached_value(user, account)  # also that there is none
        return user if self.user_can_authenticate(user) else None

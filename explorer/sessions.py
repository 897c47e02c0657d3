"""Django's sessions in the database, read by one plain statement: making a query of models takes longer than
its answer, and every page waits for it (benchmarks/web_floor.py)."""

import re
from typing import Any

from django.contrib.sessions.backends import db
from django.db import connection

KEY = re.compile("[a-z0-9]{32}")
READ = "SELECT session_data FROM django_session WHERE session_key = %s AND expire_date > now()"


class SessionStore(db.SessionStore):
    def load(self) -> dict[str, Any]:
        with connection.cursor() as cursor:
            cursor.execute(READ, [self.session_key])
            row = cursor.fetchone()
        if row is None:
            self._session_key = None
            return {}
        data: dict[str, Any] = self.decode(row[0])
        return data

    def _validate_session_key(self, key: str | None) -> bool:
        """What no session was ever called is not asked for: a cookie may hold even a NUL byte, which fails."""
        return bool(key and KEY.fullmatch(key))

"""All settings, read from the environment. Importing this starts nothing and imports no torch."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy

from explorer import env, secret_key
from explorer.places import Places

BASE_DIR = Path(__file__).resolve().parent.parent

# Where

PLACES = Places(env.path("EXPLORER_DATA", BASE_DIR / "var", "the data folder: rows, artifacts, logs, the secret key"))
HOST = env.text("EXPLORER_HOST", "127.0.0.1", "the address that `manage.py up` listens on")
PORT = env.integer("PORT", 8000, "the port that `manage.py up` listens on", least=1, most=65_535)

# How much

WEB_PROCESSES = env.integer("EXPLORER_WEB_PROCESSES", 2, "web processes that `manage.py up` starts", least=1, most=64)
PAGE_THREADS = env.integer(
    "EXPLORER_PAGE_THREADS",
    4,
    "requests that one web process answers at once; pages it makes one by one",
    least=1,
    most=64,
)
JOB_THREADS = env.integer("EXPLORER_JOB_THREADS", 4, "interactive jobs that one worker runs at once", least=1, most=64)
KEPT_MEMORY = 2**20 * env.integer(
    "EXPLORER_KEPT_MEMORY",
    psutil.virtual_memory().total // 4 // 2**20,
    "most MiB of models that one worker keeps loaded for the next job; unset, a quarter of this machine's memory, so "
    "that the two workers of `manage.py up` leave half of it to their work",
    least=0,
    most=2**24,
)

# Safety

PRODUCTION = env.flag("EXPLORER_PRODUCTION", False, "served to others over HTTPS: nothing is generated or guessed")
DEBUG = env.flag("EXPLORER_DEBUG", False, "Django's debug pages; never together with EXPLORER_PRODUCTION")
SECRET_KEY = env.secret("EXPLORER_SECRET_KEY", "signs sessions; generated into the data folder where unset")
ALLOWED_HOSTS = list(
    env.names("EXPLORER_ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]"), "host names that are answered, by commas")
)
BODY_LIMIT = 2**20 * env.integer(
    "EXPLORER_BODY_MIB", 2, "largest form or API request in MiB; uploads have a cap of their own", least=1, most=1024
)
UPLOAD_LIMIT = 2**20 * env.integer(
    "EXPLORER_UPLOAD_MIB",
    512,
    "largest upload of an SAE in MiB, which researchers alone may send",
    least=1,
    most=65_536,
)
ROOTS = env.folders(
    "EXPLORER_ROOTS",
    (BASE_DIR / "demo",),
    "folders, by commas, from which researchers may add models, SAEs and text in the browser",
)
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_LIMIT  # what came through explorer/front/bodies.py is not refused again

if PRODUCTION and DEBUG:
    raise ImproperlyConfigured("EXPLORER_DEBUG and EXPLORER_PRODUCTION: debug pages show settings and source to anyone")
if PRODUCTION and not SECRET_KEY:
    raise ImproperlyConfigured("EXPLORER_SECRET_KEY: in production it must be set; `openssl rand -base64 64` makes one")
SECRET_KEY = SECRET_KEY or secret_key.read_or_make(PLACES.secret_key)

# Rows

_database = env.database(
    "DATABASE_URL", "PostgreSQL's address; where unset, an embedded one in the data folder is used"
)
EMBEDDED_POSTGRES = _database is None
DB_PATIENCE = env.seconds("EXPLORER_DB_PATIENCE", 10, "how long a page or job waits for PostgreSQL")
EMBEDDED_USER = EMBEDDED_NAME = "explorer"
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        **(_database or {"NAME": EMBEDDED_NAME, "USER": EMBEDDED_USER, "HOST": str(PLACES.socket), "OPTIONS": {}}),
        "ENGINE": "django.db.backends.postgresql",
        "CONN_HEALTH_CHECKS": True,  # the pool hands out no connection that a restarted server has cut
        "CONN_MAX_AGE": 0,  # the pool keeps connections; Django must not keep them too
    }
}
DATABASES["default"]["OPTIONS"]["pool"] = {
    # Every thread that serves a page or runs a job, and the few that watch over them.
    "min_size": 1,
    "max_size": env.integer(
        "EXPLORER_DB_CONNECTIONS",
        max(PAGE_THREADS, JOB_THREADS) + 4,
        "PostgreSQL connections that one process may hold",
        least=4,
        most=200,
    ),
    # Long enough to sit out a restart of the server: a page waits for it rather than fails.
    "timeout": DB_PATIENCE,
    # The pool tries again after ever longer pauses; giving up lets the next page begin anew with a short one.
    "reconnect_timeout": DB_PATIENCE,
    "name": "explorer",
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Files

ARTIFACT_STORAGE = env.json_object(
    "EXPLORER_ARTIFACT_STORAGE",
    'another place for artifacts, as JSON for Django\'s STORAGES: {"BACKEND": …, "OPTIONS": {…}}',
)
FILE_UPLOAD_HANDLERS = ["explorer.uploads.UploadHandler"]
STATIC_URL = "/static/"
STATIC_ROOT = PLACES.static
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},  # nothing is stored by Django's own means
    "staticfiles": {"BACKEND": "explorer.static_storage.StaticStorage"},
    "artifacts": ARTIFACT_STORAGE
    or {"BACKEND": "explorer.artifacts.AtomicFileStorage", "OPTIONS": {"location": str(PLACES.artifacts)}},
}

# Jobs (the row is the truth, the message a doorbell: actions/jobs.py)

JOB_LEASE = env.seconds("EXPLORER_JOB_LEASE", 30, "after so long without a heartbeat a worker counts as dead")
JOB_HEARTBEAT = env.seconds("EXPLORER_JOB_HEARTBEAT", 10, "how often a worker renews the lease of its jobs")
JOB_SWEEP = env.seconds("EXPLORER_JOB_SWEEP", 5, "how often lost messages and dead workers are looked for")
JOB_FAILURES = 3  # the third failure parks a job
if JOB_HEARTBEAT * 2 > JOB_LEASE:
    raise ImproperlyConfigured(
        f"EXPLORER_JOB_HEARTBEAT={JOB_HEARTBEAT:g}: one missed heartbeat would lose a job; "
        f"at most half of EXPLORER_JOB_LEASE ({JOB_LEASE:g}) is allowed"
    )
JOB_KINDS = ["explorer.kinds"]  # modules that register kinds of job

_broker = env.broker("CELERY_BROKER_URL", "Redis or RabbitMQ; where unset, messages are files in the data folder")
EMBEDDED_BROKER = _broker is None
CELERY_BROKER_URL = _broker or "files://localhost"
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {}
if EMBEDDED_BROKER:
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "folder": str(PLACES.broker),
        "polling_interval": 0.02,
    }  # a look at an empty folder takes 0.1 ms
elif CELERY_BROKER_URL.startswith("redis"):
    # Without limits a form that is posted while Redis is away would hang until the kernel gives up.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 1, "max_retries": 0}
CELERY_BROKER_CONNECTION_TIMEOUT = 1
CELERY_BROKER_HEARTBEAT = 0  # a batch job keeps its worker's main thread for hours; RabbitMQ must not hang up on it
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker waits for its broker for ever
CELERY_TASK_PUBLISH_RETRY = False  # the sweeper rings again; a page does not wait
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False  # it leaves a file for each dead worker in a broker of files
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False  # the row knows who runs what
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]

# Application

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.forms",
    "csp",
    "django_htmx",
    "explorer",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "explorer.middleware.AccessMiddleware",
]
ROOT_URLCONF = "explorer.urls"
WSGI_APPLICATION = None
ASGI_APPLICATION = "explorer.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "explorer.context_processors.person",
            ],
        },
    }
]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

FORM_RENDERER = "explorer.form_renderer.FormRenderer"

# People

OPEN_READING = env.flag("EXPLORER_OPEN_READING", False, "whoever comes may browse; else only who has signed in")
OPEN_REGISTRATION = env.flag(
    "EXPLORER_OPEN_REGISTRATION", False, "whoever comes may make an account; else an administrator invites"
)
TEXT_CHARACTERS = env.integer(
    "EXPLORER_TEXT_CHARACTERS", 10_000, "longest text that anybody may have read at once", least=1, most=1_000_000
)
TEXT_TOKENS = env.integer("EXPLORER_TEXT_TOKENS", 256, "most tokens of such a text", least=1, most=4_096)
TEXT_RATE = env.integer(
    "EXPLORER_TEXT_RATE", 30, "texts a minute that one account or address may have read", least=1, most=100_000
)
STEER_TOKENS = env.integer(
    "EXPLORER_STEER_TOKENS",
    64,
    "most new tokens of a steered text; four times that for researchers",
    least=1,
    most=1_024,
)
STEER_RUNS = env.integer(
    "EXPLORER_STEER_RUNS", 8, "most texts of one steering, of a sweep for instance", least=1, most=64
)
STEER_RATE = env.integer(
    "EXPLORER_STEER_RATE", 2_000, "steered tokens a minute for one account or address; ten times that for researchers",
    least=1, most=10_000_000,
)  # fmt: skip
STEER_QUEUE = env.integer("EXPLORER_STEER_QUEUE", 20, "most steerings that wait for a worker", least=1, most=10_000)
STUDY_LEASE = timedelta(
    seconds=env.integer(
        "EXPLORER_STUDY_LEASE", 1_800, "seconds that a seat in a study is kept for whoever goes silent",
        least=30, most=7 * 86_400,
    )
)  # fmt: skip
API_RATE = env.integer(
    "EXPLORER_API_RATE", 600, "API requests a minute that one account or address may make", least=1, most=1_000_000
)
AUTHENTICATION_BACKENDS = ["explorer.backends.Backend"]
LOGIN_URL = reverse_lazy("sign_in")
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "/"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SESSION_ENGINE = "explorer.sessions"
SESSION_COOKIE_NAME = (
    f"explorer_{PORT}"  # cookies know no ports: two explorers on one host must not sign each other out
)
SESSION_COOKIE_AGE = 14 * 86_400
CSRF_COOKIE_NAME = f"explorer_csrf_{PORT}"
CSRF_COOKIE_HTTPONLY = True
PROXIES = env.integer(
    "EXPLORER_PROXIES",
    0,
    "proxies in front that append to X-Forwarded-For and say X-Forwarded-Proto; nobody else is believed",
    least=0,
    most=9,
)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = PRODUCTION
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz)$"]  # asked for from inside, over plain HTTP
SECURE_HSTS_SECONDS = 365 * 86_400 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = PRODUCTION
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS] if PRODUCTION else []
X_FRAME_OPTIONS = "DENY"
# No nonces: a page that is revisited through a 304 keeps its old ones. Plotly and htmx style by attributes.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "img-src": ["'self'", "data:", "blob:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}

# What is said

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {
        "handlers": ["stderr"],
        "level": env.one_of("EXPLORER_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"), "how much is logged"),
    },
    # Two lines for every job, at INFO, of which ours says more.
    "loggers": {name: {"level": "WARNING"} for name in ("celery.app.trace", "celery.worker.strategy")},
}

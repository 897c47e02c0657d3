"""Words of labels end where Python has them end (spelling.py), and not where a database's locale does."""

import django.contrib.postgres.indexes
import django.contrib.postgres.search
from django.db import migrations, models

# spelling.APART as it was then.
APART = (
    r"\u0001-\u002f\u003a-\u0040\u005b-\u005e\u0060\u007b-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb-\u00bf\u00d7\u00f7"
    r"\u05be\u060c\u061b\u061f\u06d4\u0964\u0965\u2000-\u206f\u20a0-\u20cf\u2190-\u2bff\u2e00-\u2e7f\u3000-\u3004"
    r"\u3008-\u3020\u3030\u30fb\ufe0f-\ufe1f\ufe30-\ufe6f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
    r"\uffe0-\uffff\U0001f000-\U0001faff"
)
SPELLED = models.Func(
    models.F("text"), models.Value(f"[{APART}]+"), models.Value(" "), models.Value("g"), function="regexp_replace",
    output_field=models.TextField(),
)  # fmt: skip


class Migration(migrations.Migration):

    dependencies = [
        ("explorer", "0005_edition"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="label", name="label_by_words"),
        migrations.RemoveField(model_name="label", name="words"),
        migrations.AddField(
            model_name="label",
            name="words",
            field=models.GeneratedField(
                db_persist=True,
                expression=django.contrib.postgres.search.CombinedSearchVector(
                    django.contrib.postgres.search.SearchVector(SPELLED, config="simple"), "||",
                    django.contrib.postgres.search.SearchVector(SPELLED, config="english"),
                    django.contrib.postgres.search.SearchConfig("simple"),
                ),
                output_field=django.contrib.postgres.search.SearchVectorField(),
            ),
        ),
        migrations.AddIndex(
            model_name="label",
            index=django.contrib.postgres.indexes.GinIndex(
                condition=models.Q(("current", True)), fields=["words"], name="label_by_words"
            ),
        ),
    ]

from django.forms.renderers import TemplatesSetting


class FormRenderer(TemplatesSetting):
    """Fields as this site draws them: `{{ form.name.as_field_group }}`."""

    field_template_name = "components/field.html"

import pytest

pytest.register_assert_rewrite("tests.sae_core.collecting.agreement")

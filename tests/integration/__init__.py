import pytest

# What is no test module, yet asserts for many.
pytest.register_assert_rewrite("tests.integration.reported_calls")

import pytest

# What is no test module, yet asserts for some.
pytest.register_assert_rewrite("tests.processes.running")

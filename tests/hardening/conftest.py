"""Chooses the long form of the fuzzing tests before they are imported."""

import pytest

import hardening_kit


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--long"):
        hardening_kit.use_long_form()

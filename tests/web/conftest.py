"""Fixtures of the pages' tests."""

from made_pages import browser, open_page  # noqa: F401

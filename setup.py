"""Build script: everything static stands in pyproject.toml; setup.py lets older tools find it."""

from setuptools import setup

setup()

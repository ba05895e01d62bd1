"""Perturbed report discrimination (PRD): vision-language pre-training on chest radiographs and their reports."""

__version__ = "0.1.0"

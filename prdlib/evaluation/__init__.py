"""Scores, each with its interval, its chance level and its control."""

"""Rates and updates."""

"""Splits: allocation and templates."""

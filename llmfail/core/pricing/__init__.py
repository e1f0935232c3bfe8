"""Prices, what a call costs, and what was used."""

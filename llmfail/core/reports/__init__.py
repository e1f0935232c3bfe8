"""Figures for people: status, cost estimates, scenarios."""

"""YAML and environment -> validated, frozen Settings."""

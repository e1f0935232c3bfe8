"""The rules. Pure: values in, values out; no I/O, no clock, no randomness, no environment."""

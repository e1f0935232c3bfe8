"""How good answers are: what was expected of them, intervals, comparisons and verdicts. Pure."""

"""Answers that no call is made for: the caches of earlier answers and vectors, and the degrade steps."""

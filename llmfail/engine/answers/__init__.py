"""Answers that no call is made for: the cache of earlier answers, and the degrade steps."""

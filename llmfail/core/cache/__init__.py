"""The identity of a request, stored answers, and single flight."""

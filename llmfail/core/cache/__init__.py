"""The identity of a request, stored answers, and who asks while others wait."""

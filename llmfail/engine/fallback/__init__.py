"""The order in which targets are asked, and the second call while the first is late."""

"""What runs beside the asks: it judges alerts and tells somebody, and serves health and metrics over HTTP."""

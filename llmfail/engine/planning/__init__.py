"""What one ask is before anything is sent: its targets, prices, budgets and requests, resolved once."""

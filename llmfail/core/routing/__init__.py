"""Which target comes next, how long it may take, and what a failed ask is."""

"""One ask, from top to bottom. The only place that knows store, wire, providers and rules together."""

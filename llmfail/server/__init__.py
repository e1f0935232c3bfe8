"""`llmfail serve`: the chains of a configuration for programs that speak HTTP as they speak to a vendor."""

"""Whether a call may be made, and what it reserves: circuit, credential, rate limits and budgets."""

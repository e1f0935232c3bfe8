"""Files and environment variables -> one validated Settings."""

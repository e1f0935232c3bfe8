"""The dashboard: pages over the values that status, log, plan, usage and queue have; three actions."""

"""``python -m llmfail``."""

from llmfail.cli import main

main()

"""``python -m llmfail``."""

from llmfail.cli.startup import main

main()

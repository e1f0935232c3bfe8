"""A program that asks once for each user, and prints the user and the receipt of each."""

import json
import sys

from llmfail import Client

with Client(sys.argv[1]) as client:
    for user in sys.argv[2:]:
        receipt = client.ask("Say hello", user=user)
        sys.stdout.write(json.dumps([user, receipt.to_json()]) + "\n")

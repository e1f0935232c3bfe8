"""A program for OpenAI's API that asks `llmfail serve`: nothing but base URL and key is other than before.

`model` names a feature of the configuration, or a target such as openai/gpt-6.1-terra.
"""

import os
import sys

from openai import APIError, OpenAI

gateway = os.environ.get("LLMFAIL_URL", "http://127.0.0.1:4000")
client = OpenAI(base_url=f"{gateway}/v1", api_key=os.environ.get("LLMFAIL_KEY", "none"))
messages = [{"role": "user", "content": " ".join(sys.argv[1:]) or "Say hello"}]

try:
    for chunk in client.chat.completions.create(model="default", messages=messages, stream=True):
        for choice in chunk.choices:
            print(choice.delta.content or "", end="", flush=True)
except APIError as error:  # also when the stream breaks off in the middle: half an answer never looks whole
    sys.exit(f"\nno answer: {error.message}")
print()

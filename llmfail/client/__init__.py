"""The Python API: a blocking client, and its twin for asyncio over the same engine.

    from llmfail import Client

    with Client() as llm:
        print(llm.ask("Say hello", feature="vpr").answer)

        with llm.stream("Say hello") as answer:
            for text in answer:
                print(text, end="", flush=True)

``ask`` and ``embed`` return a Receipt, or raise the AskError that fits, which carries the receipt.
"""

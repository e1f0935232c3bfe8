"""A small service's way to ask: many at once, each through the chain of its feature."""

import asyncio

from llmfail import AskError, AsyncClient


async def main() -> None:
    async with AsyncClient() as llm:
        questions = ["What is a circuit breaker?", "What is a deadline?", "What is a lease?"]
        for question, answer in zip(
            questions, await asyncio.gather(*(ask(llm, one) for one in questions)), strict=True
        ):
            print(f"{question}\n  {answer}")


async def ask(llm: AsyncClient, question: str) -> str:
    try:
        receipt = await llm.ask(question, max_tokens=200)
    except AskError as error:
        return f"({error})"
    return f"{receipt.answer} [{receipt.target}]"


if __name__ == "__main__":
    asyncio.run(main())

"""A service that logs what happens to its asks, and pages somebody when a circuit opens."""

import logging

import llmfail


def on_event(event: object) -> None:
    match event:
        case llmfail.CircuitChanged(target=target, new="open", why=why):
            page(f"{target} is open: {why}")
        case llmfail.BudgetCrossed(budget=budget, mark="limit" | "refused"):
            page(f"budget {budget} is spent, or has too little left")


def page(text: str) -> None:
    print(f"PAGE {text}")


def main() -> None:
    # The logger `llmfail` says every event in a line; INFO leaves the calls that went well out.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with llmfail.Client(on_event=on_event) as llm:
        for question in ("What is a circuit breaker?", "What is a lease?"):
            try:
                print(llm.ask(question, max_tokens=200).answer)
            except llmfail.AskError as error:
                print(f"no answer: {error}")


if __name__ == "__main__":
    main()

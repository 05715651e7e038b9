"""Chains, groups and chords, built of typed signatures."""

import asyncio

from local import naq

from naq_client import chain, chord, disconnect, group, task


@task
def count(text: str) -> int:
    """Count the words."""
    return len(text.split())


@task
def total(counts: list[int]) -> int:
    """Add up what the group has returned."""
    return sum(counts)


@task
def say(number: int, unit: str) -> str:
    """Word a result."""
    return f"{number} {unit}"


async def main() -> None:
    """Enqueue one of each, and wait for their results."""
    pages = ["to be or not", "to be", "that is the question"]

    one = await (count.s("a few words") | say.s(unit="words")).enqueue()
    print("chain:", await one.result(timeout=10))

    some = await group(count.s(page) for page in pages).enqueue()
    print("group:", await some.result(timeout=10))

    book = await chord([count.s(page) for page in pages], total.s()).enqueue(name="book")
    print("chord:", await book.result(timeout=10))

    both = await chain(group(count.s(page) for page in pages), total.s(), say.s(unit="words in all")).enqueue()
    print("all of it:", await both.result(timeout=10))
    print("states:", (await both.status()).counts)
    await disconnect()


if __name__ == "__main__":
    with naq():
        asyncio.run(main())

"""Jobs that wait for a signal: a person approves an invoice, a webhook comes before the job, nobody answers in time."""

import asyncio

from local import naq

from naq_client import Dependency, Queue, current_job
from naq_core import JobExpiredError
from naq_core.inspect import waiting_for_signals


def pay(invoice: int) -> str:
    """Run only when somebody has decided; the decision comes with the signal."""
    signal = current_job().signal
    verb = "paid" if signal.data["approved"] else "not paid"
    return f"invoice {invoice} is {verb}: {signal.data['note']} ({signal.sender})"


def ship(order: int) -> str:
    """Run when the payment service has called the webhook."""
    return f"order {order} is shipped, paid by {current_job().signal.data['card']}"


def remind(invoice: int) -> str:
    """Run also if nobody has answered."""
    return f"a reminder of invoice {invoice} is sent"


async def main() -> None:
    """Let three jobs wait, and be two people and a webhook."""
    async with Queue() as queue:
        jobs = [await queue.options(wait_for=f"invoice-{number}:decided").enqueue(pay, number) for number in (7, 8)]
        print("state:", (await jobs[0].status()).value)
        waiting = await waiting_for_signals(await queue.connection())
        print("waiting:", ", ".join(job.signal for job in waiting.jobs))
        # As does: naq signal invoice-7:decided --data '{"approved": true, "note": "looks right"}'
        await queue.signal("invoice-7:decided", {"approved": True, "note": "looks right"}, sender="ada")
        await queue.signal("invoice-8:decided", {"approved": False, "note": "wrong amount"}, sender="ben")
        print(*[await job.result(timeout=10) for job in jobs], sep="\n")
        print("sent twice:", await queue.signal("invoice-8:decided", {"approved": True}, sender="mallory"))

        await queue.signal("order-3:paid", {"card": "visa"})  # the webhook is faster than the shop
        order = await queue.options(wait_for="order-3:paid").enqueue(ship, 3)
        print(await order.result(timeout=10))

        late = await queue.options(wait_for="invoice-9:decided", expires=0.2).enqueue(pay, 9)
        reminder = await queue.options(depends_on=Dependency(late, allow_failure=True)).enqueue(remind, 9)
        print(await reminder.result(timeout=20))
        try:
            await late.result(timeout=10)
        except JobExpiredError as error:
            print("expired:", error)


if __name__ == "__main__":
    with naq():
        asyncio.run(main())

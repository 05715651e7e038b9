"""Middleware: around each enqueue and each attempt, named in a setting, so that clients and workers use the same."""

import asyncio

from local import naq
from shop_middleware import clean_up, share, tenant

from naq_client import Queue


async def main() -> None:
    """Enqueue for two tenants."""
    async with Queue() as queue:
        tenant.set("acme")
        job = await queue.enqueue(share, 9, 2)
        print(await job.result(timeout=20))
        view = await job.view()
        print("headers:", view.headers)

        tenant.set("globex")
        print(await (await queue.options(process=True).enqueue(share, 9, 3)).result(timeout=20))
        print(await (await queue.enqueue(share, 9, 0)).result(timeout=20))
        print(await (await queue.enqueue(clean_up)).result(timeout=20))


if __name__ == "__main__":
    middleware = ["shop_middleware:Maintenance", "shop_middleware:Timing", "shop_middleware:Tenant"]
    with naq(NAQ_MIDDLEWARE=",".join(middleware)):
        asyncio.run(main())

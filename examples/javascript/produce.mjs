// A producer: enqueues, awaits and cancels jobs that Python or JavaScript workers run. Start one of these first.

import { connect } from "@nats-io/transport-node";
import { Client, JobError } from "./client.mjs";

const connection = await connect({ servers: process.env.NAQ_NATS_URL ?? "nats://127.0.0.1:4222" });
const client = await Client.open(connection, process.env.NAQ_NAMESPACE ?? "naq");

const order = await client.enqueue("shop:price", [6]);
console.log("price:", await client.result(order));

const greeting = await client.enqueue("shop:greet", ["Ada"], { greeting: "Good morning" }, { max_retries: 2, tags: ["vip"] });
console.log(await client.result(greeting));

const same = [
  await client.enqueue("shop:price", [1], {}, { id: "once" }),
  await client.enqueue("shop:price", [2], {}, { id: "once" }),
];
console.log("one job:", same[0] === same[1], "its result:", await client.result("once"));

const later = await client.enqueue("shop:price", [2], {}, { delay: 1 });
console.log("a second later:", await client.result(later));

const bread = await client.enqueue("shop:bake", [60]);
while ((await client.record(bread))?.state !== "running") await new Promise((resolve) => setTimeout(resolve, 20));
console.log("cancelled while it runs:", await client.cancel(bread, { reason: "nobody is hungry" }));
await client.result(bread).catch((error) => console.log(error.message));

const tomorrow = await client.enqueue("shop:price", [3], {}, { delay: 86400 });
console.log("cancelled before its time:", await client.cancel(tomorrow), "and again:", await client.cancel(tomorrow));

const wrong = await client.enqueue("shop:fetch", ["a page"]); // without retries, its first failure is its last
await client.result(wrong).catch((error) => console.log(error instanceof JobError, error.record.state));

await connection.close();

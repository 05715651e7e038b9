// A worker process: `node work.mjs [queue]`. Its functions have names as Python's, so that Python programs can enqueue them.

import { connect } from "@nats-io/transport-node";
import { Retry, Worker } from "./worker.mjs";

const functions = {
  "shop:price": (quantity) => quantity * 7,

  // The keyword arguments come as one object, and then the context.
  "shop:greet": (name, { greeting = "Hello" }) => `${greeting}, ${name}!`,

  "shop:fetch": (page, { attempt }) => {
    if (attempt < 3) throw new Retry(0.05, `${page} is not there yet`);
    return `${page} came at attempt ${attempt}`;
  },

  // A function that is interrupted by its timeout, by a cancellation or by a stopping worker goes on unless it looks at its signal.
  "shop:bake": (seconds, { signal }) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, seconds * 1000, "baked");
      signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)));
    }),
};

const [queue = "default"] = process.argv.slice(2);
const connection = await connect({ servers: process.env.NAQ_NATS_URL ?? "nats://127.0.0.1:4222", maxReconnectAttempts: -1 });
const worker = new Worker(connection, queue, functions, { namespace: process.env.NAQ_NAMESPACE ?? "naq" });
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => worker.stop());
console.log(`worker ${worker.id} takes jobs from ${queue}`);
await worker.run();
await connection.close();
process.exit(); // a function that ignored its interruption may still run

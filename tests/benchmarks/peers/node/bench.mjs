// One measurement of a queue of Node.js, printed as JSON: node bench.mjs bullmq|graphile JOBS, with PEERS_URL.
import { performance } from "node:perf_hooks";

const [which, count] = process.argv.slice(2);
const jobs = Number(count);
const batches = Array.from({ length: Math.ceil(jobs / 1000) }, (_, batch) =>
  Array.from({ length: Math.min(1000, jobs - batch * 1000) }, (_, slot) => batch * 1000 + slot),
);

let done = 0;
let first = 0;
let last = 0;
let finish;
const all = new Promise((resolve) => (finish = resolve));
function run() {
  last = performance.now();
  first ||= last;
  done += 1;
  if (done === jobs) finish();
}

async function enqueueAll(add) {
  const since = performance.now();
  for (const batch of batches) await add(batch);
  return (jobs / (performance.now() - since)) * 1000;
}

function report(enqueued) {
  const drained = ((jobs - 1) / (last - first)) * 1000;
  const drain = which === "bullmq" ? "drain, results kept" : "drain, no results";
  console.log(JSON.stringify({ "enqueue, the fastest way": enqueued, [drain]: drained }));
}

if (which === "bullmq") {
  const { Queue, Worker } = await import("bullmq");
  const { default: Redis } = await import("ioredis");
  const connection = new Redis(process.env.PEERS_URL, { maxRetriesPerRequest: null });
  const queue = new Queue("bench", { connection });
  const enqueued = await enqueueAll((batch) => queue.addBulk(batch.map((slot) => ({ name: "noop", data: { slot } }))));
  const worker = new Worker("bench", async (job) => (run(), job.data.slot), { connection, concurrency: 100 });
  await all;
  report(enqueued);
  await worker.close();
  await queue.close();
} else {
  const { run: start, makeWorkerUtils } = await import("graphile-worker");
  const connectionString = process.env.PEERS_URL;
  const utils = await makeWorkerUtils({ connectionString });
  await utils.migrate();
  const enqueued = await enqueueAll((batch) => utils.addJobs(batch.map((slot) => ({ identifier: "noop", payload: { slot } }))));
  const fast = { concurrentJobs: 24, maxPoolSize: 25, localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
  const preset = { worker: { connectionString, ...fast } };
  const runner = await start({ preset, taskList: { noop: async () => run() }, noHandleSignals: true });
  await all;
  report(enqueued);
  await runner.stop();
  await utils.release();
}
process.exit(0);

// Enqueue, await and cancel jobs of NAQ. Their functions may be Python's or JavaScript's: see worker.mjs.

import { Kvm } from "@nats-io/kv";
import { decodeJob, encodeJob, FINAL, ifNewest, isHeld, nullIfConflict, previewOf, scheduleHeaders, Wire } from "./wire.mjs";

const LOOK_EVERY = 5000; // milliseconds: an event that came while the connection was lost is not sent again
const FAILURE_TTL = 30 * 86400; // seconds for which a record of a cancellation is kept

const DEAD_TTL = 30 * 86400; // seconds for which a cancelled job is kept, to be put back to work by hand

const RETRY = {
  max_retries: "max_retries",
  retry_delay: "delays",
  retry_strategy: "strategy",
  max_delay: "max_delay",
  jitter: "jitter",
  retry_on: "retry_on",
  ignore_on: "ignore_on",
};

export class JobError extends Error {
  constructor(record) {
    const last = record.errors?.at(-1);
    super(`job ${record.job_id} is ${record.state}: ${last ? `${last.type}: ${last.message}` : (record.reason ?? "")}`);
    this.record = record;
  }
}

export class Client {
  static async open(connection, namespace) {
    const client = new Client();
    client.wire = await Wire.open(connection, namespace);
    client.bucket = await new Kvm(client.wire.js).open(`${client.wire.namespace}_results`);
    return client;
  }

  /**
   * Enqueue a call of a function, by its name, and return the job's id.
   *
   * With an id of your own, enqueueing again is harmless: there is one job. Other options have NAQ's names, such as
   * `max_retries` and `timeout`; those that are not given are what the task declares. Durations are seconds.
   */
  async enqueue(fn, args = [], kwargs = {}, { queue = "default", id = newId(), delay = 0, expires, ...options } = {}) {
    this.wire.check(queue, id);
    const now = this.wire.now();
    const body = encodeJob(
      {
        id,
        fn,
        at: now,
        args: previewOf(args).slice(1, -1),
        opt: optionFields(options),
        given: Object.keys(options),
        expires: expires && now + expires,
      },
      args,
      kwargs,
    );
    const ready = this.wire.subject(options.priority ?? "normal", queue, id);
    const headers = ifNewest(this.wire, queue, id, 0);
    const stored =
      delay > 0
        ? this.wire.publish(this.wire.subject("held", queue, id), body, { ...headers, ...scheduleHeaders(ready, now + delay) })
        : this.wire.publish(ready, body, headers);
    await stored.catch(nullIfConflict); // a live job has this id: of an earlier try, most likely
    return id;
  }

  /** What is known of a job; null before it is claimed for the first time. */
  async record(id, queue = "default") {
    const entry = await this.bucket.get(`${queue}.${id}`);
    return entry?.value.length ? entry.json() : null;
  }

  /** Wait for a job's end and return its result; `timeout` are seconds. */
  async result(id, { queue = "default", timeout = 60 } = {}) {
    const events = this.wire.connection.subscribe(`${this.wire.namespace}.event.results.${queue}.${id}`);
    const ended = (async () => {
      for await (const event of events) if (FINAL.has(event.headers?.get("Naq-State"))) return;
    })();
    const deadline = Date.now() + timeout * 1000;
    try {
      await this.wire.connection.flush(); // from now on no event is missed, so what was before is read
      for (;;) {
        const record = await this.record(id, queue);
        if (record && FINAL.has(record.state)) return outcome(record);
        const left = deadline - Date.now();
        if (left <= 0) throw new Error(`job ${id} has not ended within ${timeout} s; it goes on`);
        await firstOf(ended, Math.min(left, LOOK_EVERY));
      }
    } finally {
      events.unsubscribe();
    }
  }

  /** Cancel a job; false where it has ended before. From then on no worker can begin it or store a result. */
  async cancel(id, { queue = "default", reason = "" } = {}) {
    this.wire.check(queue, id);
    for (;;) {
      let { record, revision } = await this.wire.record(queue, id);
      const message = await this.wire.last(this.wire.jobs, this.wire.subject("*", queue, id));
      if (record === null && message === null) throw new Error(`queue ${queue} has no job ${id}`);
      const job = message && !/\.(dead|kept)\./.test(message.subject) ? (decodeJob(message.data) ?? {}) : null;
      if (record === null || FINAL.has(record.state)) {
        if (job === null) return false;
        // A later run of the same id may wait beside the record of one that has ended.
        if (record !== null && (record.run ?? "") === (job.run ?? "")) {
          if (record.state === "cancelled") await this.#takeOut(message, job, queue, record); // what an earlier call has left
          return false;
        }
        record = unclaimed(job, queue, id);
      }
      const worker = record.state === "running" ? record.worker : "";
      Object.assign(record, { state: "cancelled", ended_at: this.wire.now(), next_at: 0, reason });
      const stored = await this.wire.writeRecord(record, revision, FAILURE_TTL);
      if (stored === null) continue; // a claim or the end came first: look again
      if (worker) await this.#interrupt(worker, queue, id);
      else if (job !== null) await this.#takeOut(message, job, queue, record);
      return true;
    }
  }

  /**
   * Take the message of a cancelled job out of its queue: a worker may begin one with Naq-First before it reads the record. If
   * jobs wait for this one, or it has callbacks, a worker has to act for them: it is given the job once more, without this mark.
   */
  async #takeOut(message, job, queue, record) {
    const isWaiting = isHeld(message);
    if (message.header.has("Naq-Key-Place")) return; // of a key: the worker that finds the record passes its place on
    const hasDuties = await this.wire.hasDuties(job, record);
    if (hasDuties && !isWaiting && !message.header.has("Naq-First")) return; // its delivery finds the record
    const target = isWaiting ? message.header.get("Nats-Schedule-Target") : message.subject;
    const done = hasDuties
      ? await this.wire.replace(message, queue, record.job_id, target, {})
      : await this.wire.archive(message, queue, record, DEAD_TTL);
    if (done && !isWaiting) await this.wire.remove(message.seq);
  }

  /** Tell the worker, so that it need not find out when the function returns. With a signing key it refuses this. */
  async #interrupt(worker, queue, id) {
    const request = JSON.stringify({ verb: "cancel", queue, job_id: id });
    try {
      await this.wire.connection.request(`${this.wire.namespace}.control.${worker}`, request, { timeout: 2000 });
    } catch (error) {
      console.warn(`job ${id} is cancelled, but worker ${worker} was not told: ${error.message}`);
    }
  }
}

function outcome(record) {
  if (record.state !== "succeeded") throw new JobError(record);
  if (record.large) throw new Error(`the result of job ${record.job_id} lies in the object store, at ${record.large[0]}`);
  if (!record.result_type) return null;
  if (record.result_type !== "json")
    throw new Error(`the result of job ${record.job_id} is a pickle: set NAQ_JOB_SERIALIZER=json`);
  return JSON.parse(Buffer.from(record.result, "base64").toString());
}

/** The record of a job that no worker has claimed. */
function unclaimed(job, queue, id) {
  return {
    state: "queued",
    job_id: id,
    queue,
    function: job.fn ?? "?",
    run: job.run ?? "",
    attempt: 0,
    enqueued_at: job.at ?? 0,
    arguments: job.args ?? "",
    workflow: job.workflow ?? "",
    schedule: job.schedule ?? "",
    tags: job.opt?.tags ?? [],
    headers: job.opt?.headers ?? {},
  };
}

/** Options as a job's message has them: those of its retries are in a place of their own. */
function optionFields(options) {
  const opt = {};
  for (const [name, value] of Object.entries(options)) {
    if (name in RETRY) (opt.retry ??= {})[RETRY[name]] = name === "retry_delay" ? [value].flat() : value;
    else opt[name] = value;
  }
  return opt;
}

/** An id that sorts by its time of making. */
function newId() {
  const random = crypto.getRandomValues(new Uint8Array(8));
  return Date.now().toString(16).padStart(12, "0") + Buffer.from(random).toString("hex");
}

async function firstOf(promise, milliseconds) {
  let timer;
  await Promise.race([promise, new Promise((resolve) => (timer = setTimeout(resolve, milliseconds)))]);
  clearTimeout(timer);
}

// A worker of NAQ: one job at a time, claimed before it runs, its lease renewed, its end on record before it is acknowledged.
//
// It hands back to Python workers of the same queue what it cannot do; docs/wire-format.md lists that.

import { hostname } from "node:os";
import { headers as newHeaders } from "@nats-io/transport-node";
import { Claims, isCondemned, LONGEST_BACK_OFF, MAX_CRASHES, note } from "./claims.mjs";
import {
  argumentsOf,
  decodeJob,
  Delivery,
  FINAL,
  LEVELS,
  previewOf,
  Wire,
} from "./wire.mjs";

const HANDED_BACK = 2; // seconds before a job that this worker cannot run is delivered again, to it or to another one
const LOOK_EVERY = 10; // between two looks whether other levels are in use
const IDLE = 1; // for which a request for a job waits at the server
const DEFAULTS = { heartbeat: 5, workerTtl: 15, resultTtl: 7 * 86400, failureTtl: 30 * 86400, deadTtl: 30 * 86400 };

/** Ask for another attempt, after so many seconds; it counts as a retry. */
export class Retry extends Error {
  constructor(seconds, message = "the job asked for a retry") {
    super(message);
    this.name = "Retry";
    this.seconds = seconds;
  }
}

export class Worker {
  /**
   * `functions` are called with the job's positional arguments, then its keyword arguments if there are any, then a
   * context: `{ id, queue, attempt, signal }`. `settings` are seconds, and have to be those of the Python workers.
   */
  constructor(connection, queue, functions, { namespace = "naq", id, ...settings } = {}) {
    this.connection = connection;
    this.queue = queue;
    this.functions = functions;
    this.namespace = namespace;
    this.settings = { ...DEFAULTS, ...settings };
    this.id = id ?? `${hostname().replace(/[^A-Za-z0-9-]/g, "-")}-${process.pid}-${Math.random().toString(16).slice(2, 10)}`;
    this.running = null; // the job in hand: { id, startedAt, abort }
    this.unrecorded = new Set(); // ids of jobs whose end the server did not take
    this.counts = { processed: 0, succeeded: 0, failed: 0, retried: 0, skipped: 0 };
    this.isQuiet = this.isStopping = false;
  }

  /** Work off the queue until `stop` is called. */
  async run() {
    this.wire = await Wire.open(this.connection, this.namespace);
    await this.#findLevels();
    this.startedAt = this.wire.now();
    this.claims = new Claims(this.wire, this.queue, this.id, this.unrecorded, this.settings.workerTtl);
    const control = this.connection.subscribe(`${this.namespace}.control.${this.id}`, {
      callback: (_, message) => this.#obey(message),
    });
    await this.#beat(); // before anything is claimed: who is not present counts as dead
    const beating = setInterval(() => this.#beat().catch(complain), this.settings.heartbeat * 1000);
    const looking = setInterval(() => this.#findLevels().catch(complain), LOOK_EVERY * 1000);
    try {
      while (!this.isStopping) {
        const message = this.isQuiet ? await sleep(IDLE) : await this.#take();
        if (message) await this.#process(message).catch((error) => this.#leave(message, error));
      }
    } finally {
      clearInterval(beating);
      clearInterval(looking);
      control.unsubscribe();
      await this.wire.manager.streams.purge(`KV_${this.namespace}_workers`, { filter: this.#presence }).catch(complain);
    }
  }

  /** Take no more jobs; `run` returns when the job in hand has ended, or was handed back after so many seconds. */
  stop(grace = 30) {
    this.isStopping = true;
    setTimeout(() => this.running?.abort.abort(INTERRUPTED), grace * 1000).unref();
  }

  get #presence() {
    return `$KV.${this.namespace}_workers.${this.id}`;
  }

  /** Find the consumers: a level has one from its first job on, and the normal level needs one. */
  async #findLevels() {
    const find = (level) => this.wire.manager.consumers.info(this.wire.jobs, this.wire.consumer(this.queue, level));
    const { config } = await find("normal").catch((error) => {
      throw new Error(`queue ${this.queue} cannot be served (${error.message}): run naq setup ${this.queue}`, { cause: error });
    });
    this.lease = config.ack_wait / 1e6; // milliseconds
    const found = await Promise.all(
      LEVELS.map((level) =>
        find(level).then(
          () => level,
          () => null,
        ),
      ),
    );
    this.levels = found.filter((level) => level !== null);
  }

  /** Ask for one job, of the highest level that has one. */
  async #take() {
    for (const level of this.levels) {
      const message = await this.#pull(level, false);
      if (message !== null) return message;
    }
    return await this.#pull("normal", true);
  }

  async #pull(level, waits) {
    const subject = `$JS.API.CONSUMER.MSG.NEXT.${this.wire.jobs}.${this.wire.consumer(this.queue, level)}`;
    const request = waits ? { batch: 1, expires: IDLE * 1e9 } : { batch: 1, no_wait: true };
    try {
      // The answer has the subject of the job, by which the client's shared inbox could not tell whose it is: so no mux.
      const message = await this.connection.request(subject, JSON.stringify(request), {
        timeout: (IDLE + 5) * 1000,
        noMux: true,
      });
      return message.headers?.code >= 400 ? null : new Delivery(this.connection, message);
    } catch {
      if (waits) await sleep(IDLE); // the server is away
      return null;
    }
  }

  /** Take one delivery from its claim to its acknowledgement. */
  async #process(message) {
    const id = message.subject.split(".").at(-1);
    const job = decodeJob(message.data);
    const obstacle = this.#obstacle(job, id, message) ?? (await this.#limit());
    if (obstacle) {
      console.warn(`job ${id} is left to another worker: ${obstacle}`);
      this.counts.skipped += 1;
      return message.nak(HANDED_BACK);
    }
    const abort = new AbortController();
    this.running = { id, startedAt: this.wire.now(), abort };
    const lease = setInterval(() => message.working(), this.lease / 3);
    try {
      const claim = await this.claims.claim(message, job, this.running.startedAt);
      if (claim === null) return void (this.counts.skipped += 1);
      if (FINAL.has(claim.record.state)) return await this.#finish(message, job, claim.record);
      this.counts.processed += 1;
      const end = await this.#attempt(job, claim.record, abort);
      await this.#settle(message, job, claim, end);
    } finally {
      clearInterval(lease);
      this.running = null;
    }
  }

  /** Why this worker must not run a job, if so. */
  #obstacle(job, id, message) {
    if (message.headers?.has("Naq-Key-Bell")) return "it asks to start jobs with a key";
    if (job === null) return "it cannot be read here: it is signed, of another version, or no job";
    if (job.id !== id) return "its message names another job";
    if (message.headers?.has("Naq-Waits")) return "its parents have to be looked at";
    if (job.fill?.length || job.tell) return "it takes the results of other jobs";
    if (job.end) return "it is a callback";
    if (job.large) return "its arguments lie in the object store";
    if (job.ct !== "json" || job.by_value) return `its arguments are ${job.ct}, not JSON`;
    if (!Object.hasOwn(this.functions, job.fn)) return `there is no function ${job.fn} here`;
    if (job.opt?.key) return "it has a key";
    if (job.opt?.process) return "it has to run in a child process";
    return null;
  }

  /** A limited queue's jobs need a slot, which this worker cannot take. */
  async #limit() {
    const found = await this.wire.last(`KV_${this.namespace}_queues`, `$KV.${this.namespace}_queues.setting.${this.queue}`);
    const limit = found?.data.length ? JSON.parse(new TextDecoder().decode(found.data)).limit : undefined;
    return limit === undefined || limit === null ? null : `queue ${this.queue} is limited to ${limit}`;
  }

  /** Call the function, and return how the attempt ended. */
  async #attempt(job, record, abort) {
    if (isCondemned(record)) return { error: record.errors.at(-1), isFinal: true };
    const { signal } = abort;
    const limit = job.opt?.timeout ?? null;
    const timer = limit === null ? null : setTimeout(() => abort.abort(new TimedOut(limit)), limit * 1000);
    try {
      const [args, kwargs] = argumentsOf(job);
      const context = { id: job.id, queue: this.queue, attempt: record.attempt, signal };
      const given = Object.keys(kwargs).length ? [...args, kwargs, context] : [...args, context];
      const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
      const value = await Promise.race([(async () => await this.functions[job.fn](...given))(), aborted]);
      const result = JSON.stringify(value ?? null); // an error where that is impossible: then the attempt has failed
      if (result.length > this.connection.info.max_payload / 2)
        throw new RangeError(`the result is too large: ${result.length} characters`);
      return { result };
    } catch (reason) {
      if (reason === INTERRUPTED || reason === CANCELLED) return { interruption: reason };
      const error = reason instanceof Error ? reason : new Error(String(reason));
      return {
        error: { type: error.name, message: error.message.slice(0, 2000), traceback: error.stack ?? "" },
        delay: error.seconds,
      };
    } finally {
      clearTimeout(timer);
    }
  }

  /** Put the end of an attempt on record, and only then acknowledge, or hand the job on to its next attempt. */
  async #settle(message, job, claim, { result, error, delay, isFinal, interruption }) {
    const record = claim.record;
    const now = this.wire.now();
    if (record.crashes && !interruption && !isFinal)
      Object.assign(record, { alone: false, suspect: record.crashes >= MAX_CRASHES });
    if (interruption === INTERRUPTED) {
      Object.assign(record, { state: "queued", alone: false, reason: "returned by a stopping worker" });
      if (await this.#record(claim, this.settings.failureTtl)) message.nak();
      else await this.#giveUp(message, job, record);
      return;
    }
    if (interruption === CANCELLED) return await this.#giveUp(message, job, record);
    if (result !== undefined) {
      const ended = { state: "succeeded", ended_at: now, result_type: "json", result: Buffer.from(result).toString("base64") };
      Object.assign(record, ended, { result_text: previewOf(JSON.parse(result)) });
      return await this.#end(message, job, claim, job.opt?.result_ttl ?? this.settings.resultTtl);
    }
    if (!isFinal) note(this.wire, record, { ...error, worker: this.id });
    const failures = record.attempt - (record.crashes ?? 0);
    if (!isFinal && isRetried(job.opt?.retry ?? {}, failures, error.type)) {
      const pause = delay ?? delayOf(job.opt?.retry ?? {}, failures);
      Object.assign(record, { state: "retrying", next_at: now + pause });
      this.counts.retried += 1;
      if (await this.#record(claim, pause + this.settings.failureTtl)) message.nak(Math.min(pause, LONGEST_BACK_OFF));
      else await this.#giveUp(message, job, record);
      return;
    }
    Object.assign(record, { state: "dead", ended_at: now });
    await this.#end(message, job, claim, this.settings.failureTtl);
  }

  async #end(message, job, claim, ttl) {
    if (!(await this.#record(claim, ttl))) return await this.#giveUp(message, job, claim.record);
    this.counts[claim.record.state === "succeeded" ? "succeeded" : "failed"] += 1;
    await this.#finish(message, job, claim.record);
  }

  /** Drop the outcome of a job that is another worker's by now; one that was cancelled is still acknowledged. */
  async #giveUp(message, job, mine) {
    const { record } = await this.wire.record(this.queue, mine.job_id);
    if (record && FINAL.has(record.state) && (record.run ?? "") === (mine.run ?? ""))
      return await this.#finish(message, job, record);
    console.warn(`job ${mine.job_id} was taken over by another worker; its outcome is dropped`);
  }

  /** Do what follows an end that is on record; all of it may be done twice. */
  async #finish(message, job, record) {
    if (record.state === "dead" || record.state === "cancelled")
      await this.wire.archive(message, this.queue, record, this.settings.deadTtl); // unless it is there, or was put back since
    if (await this.wire.hasDuties(job, record)) return message.nak(HANDED_BACK); // a Python worker finds the end, and does them
    message.ack();
  }

  /** Compare-and-set the record of the job in hand; false where it is another worker's, or was cancelled. */
  async #record(claim, ttl) {
    const revision = await this.wire.writeRecord(claim.record, claim.revision, ttl);
    if (revision !== null) claim.revision = revision;
    return revision !== null;
  }

  /** The server did not take what was to be recorded: the job is not acknowledged, so it is delivered again. */
  #leave(message, error) {
    const id = message.subject.split(".").at(-1);
    console.error(`job ${id} will be retried on redelivery: ${error.message}`);
    this.unrecorded.add(id);
  }

  /** Tell that this worker lives, and what it runs: without that, others take its jobs over. */
  async #beat() {
    const at = this.wire.now();
    const { running } = this;
    const state = this.isStopping ? "stopping" : this.isQuiet ? "quiet" : "running";
    const presence = {
      worker_id: this.id,
      at,
      running: running ? { [running.id]: running.startedAt } : {},
      in_progress: running ? { [this.queue]: 1 } : {},
      unrecorded: [...this.unrecorded],
      queues: [this.queue],
      concurrency: 1,
      state,
      started_at: this.startedAt,
      host: hostname(),
      pid: process.pid,
      rss: process.memoryUsage.rss(),
      version: `javascript on node ${process.version}`,
      ...this.counts,
    };
    const headers = newHeaders();
    headers.set("Nats-TTL", `${this.settings.workerTtl}s`);
    await this.wire.js.publish(this.#presence, JSON.stringify(presence), { headers });
  }

  /** Carry out what `naq worker` and `naq job cancel` ask for. */
  #obey(message) {
    const { verb, job_id: id } = JSON.parse(message.string());
    const known = { cancel: () => this.running?.id === id, quiet: () => true, resume: () => true, stop: () => true };
    const done = Object.hasOwn(known, verb) && known[verb]();
    if (done && verb === "cancel") this.running.abort.abort(CANCELLED);
    if (done && verb === "quiet") this.isQuiet = true;
    if (done && verb === "resume") this.isQuiet = false;
    if (done && verb === "stop") this.stop();
    message.respond(JSON.stringify({ done, state: this.isStopping ? "stopping" : this.isQuiet ? "quiet" : "running" }));
  }
}

class TimedOut extends Error {
  constructor(seconds) {
    super(`the attempt took longer than ${seconds} s`);
    this.name = "TimeoutError";
  }
}

const INTERRUPTED = new Error("the worker stops");
const CANCELLED = new Error("the job was cancelled");

function isRetried({ max_retries: most = 0, retry_on: only = [], ignore_on: never = [] }, failures, type) {
  return failures <= most && !never.includes(type) && (only.length === 0 || only.includes(type));
}

/** Seconds before a retry; the first is 1. */
function delayOf({ delays = [0], strategy = "fixed", max_delay: most = 3600, jitter = false }, retry) {
  const factor = { fixed: 1, linear: retry, exponential: 2 ** Math.min(retry - 1, 60) }[strategy];
  const base = Math.min(delays.length > 1 ? delays[Math.min(retry, delays.length) - 1] : delays[0] * factor, most);
  return jitter ? base * (0.5 + Math.random() / 2) : base;
}

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000, null));
const complain = (error) => console.error(error.message);

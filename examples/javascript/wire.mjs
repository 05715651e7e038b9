// The documents of NAQ and where they lie, as docs/wire-format.md describes them. Knows nothing of running jobs.

import { decode, encode } from "@msgpack/msgpack";
import { JetStreamApiError, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { headers as newHeaders } from "@nats-io/transport-node";

export const FINAL = new Set(["succeeded", "dead", "cancelled", "expired"]);
export const LEVELS = ["high", "normal", "low"];
const FAR_FUTURE = "2200-01-01T00:00:00Z";
const WRONG_SEQUENCE = new Set([10071, 10164]);
const JOB_ID = /^[A-Za-z0-9_=-]{1,128}$/;
const QUEUE = /^[A-Za-z0-9_-]{1,64}$/;
const utf8 = new TextEncoder();
const text = new TextDecoder();

/** What the server refused: another message or record was stored in the meantime. */
export class ConflictError extends Error {}

export class Wire {
  /** Connect to the streams of a namespace, which must exist: `naq setup QUEUE`, or any worker, creates them. */
  static async open(connection, namespace = "naq") {
    const wire = new Wire();
    wire.connection = connection;
    wire.namespace = namespace;
    wire.jobs = `${namespace}_jobs`;
    wire.results = `KV_${namespace}_results`;
    wire.js = jetstream(connection);
    wire.manager = await jetstreamManager(connection);
    await wire.measureClock();
    return wire;
  }

  /** All times in documents are of the server's clock: learn by how much this machine's differs. */
  async measureClock() {
    const asked = Date.now();
    const info = await this.manager.streams.info(this.jobs);
    this.offset = Date.parse(info.ts) - (asked + Date.now()) / 2;
  }

  /** The server's time in seconds since the epoch. */
  now() {
    return (Date.now() + this.offset) / 1000;
  }

  subject(place, queue, id) {
    return `${this.namespace}.jobs.${place}.${queue}.${id}`;
  }

  recordSubject(queue, id) {
    return `$KV.${this.namespace}_results.${queue}.${id}`;
  }

  consumer(queue, level) {
    return level === "normal" ? `naq-worker-${queue}` : `naq-${level}-${queue}`;
  }

  check(queue, id) {
    if (!QUEUE.test(queue)) throw new TypeError(`${queue} is not the name of a queue: use 1 to 64 letters, digits, '_' or '-'`);
    if (!JOB_ID.test(id)) throw new TypeError(`${id} is not the id of a job: use 1 to 128 letters, digits, '_', '-' or '='`);
  }

  /** Publish with headers; a ConflictError says that the condition in them did not hold. */
  async publish(subject, body, values) {
    const headers = newHeaders();
    for (const [name, value] of Object.entries(values)) headers.set(name, String(value));
    try {
      return (await this.js.publish(subject, body, { headers })).seq;
    } catch (error) {
      if (error instanceof JetStreamApiError && WRONG_SEQUENCE.has(error.code)) throw new ConflictError(error.message);
      throw error;
    }
  }

  /** The newest message of a subject, which may have wildcards, read from the leader; null without one. */
  async last(stream, subject) {
    return await this.manager.streams.getMessage(stream, { last_by_subj: subject });
  }

  /** A job's record and the revision to compare-and-set against; the record is null where there is none. */
  async record(queue, id) {
    const found = await this.last(this.results, this.recordSubject(queue, id));
    if (found === null) return { record: null, revision: 0 };
    return { record: found.data.length ? JSON.parse(text.decode(found.data)) : null, revision: found.seq };
  }

  /** Delete a message of a job, which has been replaced. */
  async remove(sequence) {
    await this.manager.streams.deleteMessage(this.jobs, sequence, false);
  }

  /** Keep the message of a job that was cancelled or is dead whole, to be put back to work by hand. */
  async archive(message, queue, { job_id: id, state }, ttl) {
    const to = this.subject(state === "dead" ? "dead" : "kept", queue, id);
    const kept = scheduleHeaders(message.header?.get("Nats-Schedule-Target") || message.subject);
    return await this.replace(message, queue, id, to, { ...kept, "Nats-TTL": `${ttl}s` });
  }

  /**
   * Publish the message of a job on another of its subjects while it is the newest; false where it is not any more. A held one
   * is removed in the same step. A ready one is still there after this.
   */
  async replace(message, queue, id, subject, headers) {
    const moves = { "Nats-Scheduler": message.subject, "Nats-Schedule-Next": "purge" };
    const all = { ...ifNewest(this, queue, id, message.seq), ...headers, ...(isHeld(message) ? moves : {}) };
    return (await this.publish(subject, message.data, all).catch(nullIfConflict)) !== null;
  }

  /** Whether other jobs wait for this end, or callbacks are to be enqueued: only Python workers do that. */
  async hasDuties(job, record) {
    const { on_success: success, on_failure: failure, on_dead: dead } = job.opt ?? {};
    const callbacks =
      record.state === "succeeded" ? success : [...(failure ?? []), ...(record.state === "dead" ? (dead ?? []) : [])];
    if (callbacks?.length) return true;
    return (await this.last(this.jobs, `${this.namespace}.edges.${record.job_id}.>`)) !== null;
  }

  /**
   * Compare-and-set a record, and return its new revision; null where somebody else was faster. `ttl` are seconds;
   * undefined: as long as the job runs.
   */
  async writeRecord(record, revision, ttl) {
    const name = record.function.replace(/[^ -~]/g, "?").slice(0, 120);
    const stored = this.publish(this.recordSubject(record.queue, record.job_id), JSON.stringify(record), {
      "Nats-Expected-Last-Subject-Sequence": revision,
      "Naq-State": record.state,
      "Naq-About": `${record.attempt ?? 1} ${record.worker || "-"} ${name}`,
      ...(ttl === undefined ? {} : { "Nats-TTL": `${Math.max(1, Math.ceil(ttl))}s` }),
    });
    return await stored.catch(nullIfConflict);
  }
}

/** For `catch`: null in place of a ConflictError. */
export function nullIfConflict(error) {
  if (error instanceof ConflictError) return null;
  throw error;
}

/** Whether a message waits for its time, or for other jobs. */
export function isHeld(message) {
  return message.subject.split(".").at(-3) === "held";
}

/** A message that a consumer has delivered, and the means to settle it. */
export class Delivery {
  constructor(connection, { subject, data, headers, reply }) {
    Object.assign(this, { subject, data, headers });
    this.tell = (verb) => connection.publish(reply, verb);
    const tokens = reply.split("."); // $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>…, or with domain and account before
    this.seq = Number(tokens[tokens.length === 9 ? 5 : 7]);
  }

  /** Done: the server may forget the message. */
  ack() {
    this.tell("+ACK");
  }

  /** Hand the message back, to be delivered again after so many seconds. */
  nak(seconds = 0) {
    this.tell(seconds > 0 ? `-NAK {"delay": ${Math.ceil(seconds * 1e9)}}` : "-NAK");
  }

  /** Renew the lease. */
  working() {
    this.tell("+WPI");
  }
}

/** The headers that let a publish succeed only while a message of the job has that sequence; 0: while there is none. */
export function ifNewest(wire, queue, id, sequence) {
  return {
    "Nats-Expected-Last-Subject-Sequence": sequence,
    "Nats-Expected-Last-Subject-Sequence-Subject": wire.subject("*", queue, id),
  };
}

/** The headers of a message that the server keeps, and makes ready at a time; without one it is only kept. */
export function scheduleHeaders(ready, seconds) {
  const at = seconds === undefined ? FAR_FUTURE : new Date(seconds * 1000).toISOString();
  return { "Nats-Schedule": `@at ${at}`, "Nats-Schedule-Target": ready };
}

/** The message of a job whose arguments are JSON. */
export function encodeJob(fields, args, kwargs) {
  const body = utf8.encode(JSON.stringify([args, kwargs]));
  return encode({ v: 1, ct: "json", body, ...fields }, { ignoreUndefined: true });
}

/** What a message says; null where it is no job that can be read here: signed, of a newer version, or none at all. */
export function decodeJob(data) {
  try {
    const job = decode(data);
    return job !== null && typeof job === "object" && job.v === 1 ? job : null;
  } catch {
    return null;
  }
}

/** Arguments and keyword arguments of a job with JSON arguments. */
export function argumentsOf(job) {
  return JSON.parse(text.decode(job.body));
}

export function previewOf(value) {
  const shown = JSON.stringify(value) ?? "";
  return shown.length > 200 ? `${shown.slice(0, 197)}...` : shown;
}

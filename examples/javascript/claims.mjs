// Claiming a job: exactly one worker may run it, whatever the server has forgotten. The table is in docs/wire-format.md.

import { FINAL } from "./wire.mjs";

export const LONGEST_BACK_OFF = 60; // seconds: a job is delivered again after that, and put off once more
export const MAX_CRASHES = 3; // NAQ_MAX_CRASHES
const BUSY = 1; // seconds before a job in another worker's living hands is looked at again
const MOST_ERRORS = 20;
const FAILURE_TTL = 30 * 86400; // seconds for which the record of a job that was not run is kept

/** Whether a job has taken down so many workers that it must not run again. */
export function isCondemned(record) {
  return (record.crashes ?? 0) - (record.excused ?? 0) >= MAX_CRASHES;
}

/** Add to the errors of a job: the first and the newest are kept. */
export function note(wire, record, { type, message, worker = "", traceback = "" }) {
  const error = { type, message, traceback, attempt: record.attempt ?? 0, at: wire.now(), worker };
  const errors = [...(record.errors ?? []), error];
  record.errors = errors.length > MOST_ERRORS ? [errors[0], ...errors.slice(1 - MOST_ERRORS)] : errors;
  return record;
}

export class Claims {
  /** `unrecorded` has the ids of jobs whose end the server did not take from this worker; `workerTtl` are seconds. */
  constructor(wire, queue, workerId, unrecorded, workerTtl) {
    Object.assign(this, { wire, queue, workerId, unrecorded, workerTtl });
    this.reconnectedAt = -Infinity;
    this.#followReconnects();
  }

  async #followReconnects() {
    for await (const { type } of this.wire.connection.status()) if (type === "reconnect") this.reconnectedAt = Date.now();
  }

  /** Compare-and-set the record to running; null where the delivery was settled, as somebody else has the job. */
  async claim(message, job, startedAt) {
    const { id } = job;
    const fresh = {
      state: "running",
      job_id: id,
      queue: this.queue,
      function: job.fn,
      run: job.run ?? "",
      attempt: 1,
      worker: this.workerId,
      enqueued_at: job.at,
      started_at: startedAt,
      arguments: job.args ?? "",
      workflow: job.workflow ?? "",
      schedule: job.schedule ?? "",
      tags: job.opt?.tags ?? [],
      headers: job.opt?.headers ?? {},
      sequence: job.run ? message.seq : 0,
    };
    for (;;) {
      const { record: old, revision } = await this.wire.record(this.queue, id);
      let next = await this.#decide(message, old, fresh);
      if (next === null || FINAL.has(next.state)) return next && { record: next, revision };
      if (next.state === "running" && 0 < (job.expires ?? 0) && job.expires < this.wire.now()) {
        next = { ...next, state: "expired", attempt: next.attempt - 1, worker: "", started_at: 0, ended_at: this.wire.now() };
      }
      if (next.state === "running" && next.suspect) next.alone = true; // as every job of this worker
      const stored = await this.wire.writeRecord(next, revision, next.state === "running" ? undefined : FAILURE_TTL);
      if (stored === null || next.state === "retrying") continue;
      this.unrecorded.delete(id);
      return { record: next, revision: stored };
    }
  }

  /** What to write over a record: the claim, or the death of its worker; the record itself if it is final; null: nothing. */
  async #decide(message, old, fresh) {
    if (old === null) return fresh;
    if ((old.run ?? "") !== fresh.run) {
      if ((old.sequence ?? 0) > message.seq) return settled(message.ack()); // replaced by a later job
      if (old.state === "running" && (await this.#owner(old)) === "runs it") return settled(message.nak(BUSY));
      return fresh;
    }
    if (FINAL.has(old.state)) return old;
    if (old.superseded === message.seq) return settled(message.ack()); // its retry is a held message
    const again = (attempt) => ({
      ...fresh,
      attempt: Math.max(1, attempt),
      crashes: old.crashes ?? 0,
      excused: old.excused ?? 0,
      suspect: old.suspect ?? false,
      errors: old.errors ?? [],
      logs: old.logs ?? [],
    });
    const attempt = old.attempt ?? 1;
    if (old.state === "retrying") {
      const left = (old.next_at ?? 0) - this.wire.now();
      if (left > 0.05) return settled(message.nak(Math.min(left, LONGEST_BACK_OFF)));
      return again(attempt + 1);
    }
    if (old.state !== "running") return again(attempt);
    const owner = await this.#owner(old);
    if (owner === "runs it") return settled(message.nak(BUSY));
    if (owner === "could not record") {
      return note(this.wire, again(attempt), {
        type: "ResultLost",
        message: "the attempt ended, but its outcome could not be stored",
      });
    }
    return note(
      this.wire,
      {
        ...old,
        state: "retrying",
        next_at: 0,
        worker: "",
        progress: null,
        crashes: (old.crashes ?? 0) + 1,
        excused: old.alone ? Math.max(0, (old.excused ?? 0) - 1) : (old.excused ?? 0) + 1,
        suspect: true,
        alone: false,
      },
      { type: "WorkerLost", message: `worker ${old.worker} died while running the job`, worker: old.worker },
    );
  }

  /** What the worker in a record does with its job. A presence that is older than the claim cannot list it. */
  async #owner(record) {
    if (record.worker === this.workerId) return this.unrecorded.has(record.job_id) ? "could not record" : "gone";
    const found = await this.wire.last(
      `KV_${this.wire.namespace}_workers`,
      `$KV.${this.wire.namespace}_workers.${record.worker}`,
    );
    if (!found?.data.length) {
      // It may have expired while the server was away; a living worker renews it right after reconnecting.
      return Date.now() - this.reconnectedAt < this.workerTtl * 1000 ? "runs it" : "gone";
    }
    const presence = JSON.parse(new TextDecoder().decode(found.data));
    if (record.job_id in presence.running || presence.at <= record.started_at) return "runs it";
    return presence.unrecorded?.includes(record.job_id) ? "could not record" : "gone";
  }
}

const settled = () => null;

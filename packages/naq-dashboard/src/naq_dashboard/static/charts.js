// Draws figures over time with uPlot; asks for them again when the live stream says that there are new ones.
"use strict";
(() => {
  const box = document.querySelector("[data-series]");
  if (!box || !window.uPlot) return;
  const _ = window.naqText;
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  function resolve(name) {
    probe.className = `c-${name}`;
    return getComputedStyle(probe).color;
  }
  const seconds = (value) => {
    if (value == null) return "–";
    if (value >= 60) return `${(value / 60).toFixed(value >= 600 ? 0 : 1)}m`;
    if (value >= 1) return `${value.toFixed(value >= 10 ? 0 : 1)}s`;
    return `${Math.round(value * 1000)}ms`;
  };
  const count = (value) => (value == null ? "–" : value >= 10000 ? `${(value / 1000).toFixed(0)}k` : String(Math.round(value * 10) / 10));
  const KINDS = {
    throughput: { format: count, series: [[_("succeeded"), "green", "succeeded"], [_("failed"), "red", "failed"], [_("retried"), "amber", "retried"], [_("enqueued"), "blue", "enqueued", true]], perMinute: true, fill: true },
    latency: { format: seconds, spans: true, series: [[_("run p50"), "blue", "run_p50"], [_("run p95"), "amber", "run_p95"], [_("wait p95"), "violet", "wait_p95", true]] },
    ended: { format: count, series: [[_("succeeded"), "green", "succeeded"], [_("failed"), "red", "failed"], [_("retried"), "amber", "retried"]], perMinute: true, fill: true },
    run: { format: seconds, spans: true, series: [["p50", "blue", "run_p50"], ["p95", "amber", "run_p95"], ["p99", "red", "run_p99", true]] },
    wait: { format: seconds, spans: true, series: [["p50", "blue", "wait_p50"], ["p95", "amber", "wait_p95"], ["p99", "red", "wait_p99", true]] },
    depth: { format: count, series: [[_("queued"), "accent", "depth"]], fill: true },
  };
  // In the zone of the page, as its tables are.
  const timeZone = document.documentElement.dataset.zone || "UTC";
  const hours = new Intl.DateTimeFormat("en-GB", { timeZone, hour: "2-digit", minute: "2-digit" });
  const days = new Intl.DateTimeFormat(document.documentElement.lang === "en" ? "en-GB" : document.documentElement.lang, { timeZone, day: "numeric", month: "short" });
  function clock(self, ticks, axis, space, step) {
    return ticks.map((tick) => {
      const at = new Date(tick * 1000), time = hours.format(at);
      return step >= 86400 || time === "00:00" ? days.format(at) : time;
    });
  }
  const plots = new Map();
  // Deployments are lines with the version at their top.
  let deploys = [];
  function mark(self) {
    const { ctx, bbox } = self;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = resolve("violet");
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const each of deploys) {
      const x = self.valToPos(Date.parse(each.at) / 1000, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const room = bbox.left + bbox.width - x, width = ctx.measureText(each.version).width + 8;
      ctx.textAlign = width > room ? "right" : "left";
      ctx.fillText(each.version, x + (width > room ? -4 : 4), bbox.top + 10 * devicePixelRatio);
    }
    ctx.restore();
  }

  function options(kind, width, height) {
    const line = resolve("line"), muted = resolve("muted");
    const axis = { stroke: muted, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    return {
      width, height,
      padding: [10, 20, 0, 0],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), timeZone),
      legend: { show: true, live: true },
      hooks: { draw: [mark] },
      cursor: { sync: { key: "naq" }, points: { size: 6 }, drag: { x: true, y: false } },
      scales: { y: { range: (self, low, high) => [0, Math.max(high * 1.1, high > 0 ? 0 : 1)] } },
      axes: [{ ...axis, space: 64, size: 26, values: clock }, { ...axis, size: 52, values: (self, ticks) => ticks.map(kind.format) }],
      series: [
        { label: _("at") },
        ...kind.series.map(([label, name, , dashed]) => ({
          label, stroke: resolve(name), width: 1.6, points: kind.spans ? { size: 4 } : { show: false }, spanGaps: Boolean(kind.spans), dash: dashed ? [5, 4] : undefined,
          fill: kind.fill && !dashed ? resolve(`${name}-soft`) : undefined, value: (self, value) => kind.format(value),
        })),
      ],
    };
  }

  // The range begins where the data does: an hour of a server that is five minutes old would be a spike at its edge.
  const FIGURES = ["enqueued", "succeeded", "failed", "retried", "run_p50", "wait_p95", "depth"];
  function draw(all) {
    const first = all.points.findIndex((point) => FIGURES.some((name) => point[name]));
    deploys = all.deploys || [];
    const data = { ...all, points: all.points.slice(first < 0 ? 0 : Math.max(0, first - 1)) };
    const times = data.points.map((point) => Date.parse(point.at) / 1000);
    for (const element of box.querySelectorAll("[data-chart]")) {
      const kind = KINDS[element.dataset.chart];
      const scale = kind.perMinute ? 60 / data.step : 1;
      const columns = kind.series.map(([, , field]) => data.points.map((point) => {
        const value = point[field];
        return value == null ? null : value * scale;
      }));
      const known = plots.get(element);
      if (known) { known.setData([times, ...columns]); continue; }
      element.textContent = "";
      plots.set(element, new uPlot(options(kind, element.clientWidth, element.clientHeight), [times, ...columns], element));
    }
  }

  let last = null;
  async function load() {
    try {
      const answer = await fetch(box.dataset.series, { headers: { Accept: "application/json" } });
      if (answer.ok) { last = await answer.json(); draw(last); }
    } catch (error) { /* the badge tells that there is no connection */ }
  }
  function redraw() {
    for (const plot of plots.values()) plot.destroy();
    plots.clear();
    if (last) draw(last);
  }
  let known = document.querySelector("#live-series [data-mark]")?.dataset.mark;
  document.addEventListener("naq:shown", () => {
    const now = document.querySelector("#live-series [data-mark]")?.dataset.mark;
    if (now !== known) { known = now; load(); }
  });
  document.addEventListener("naq:theme", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  let width = 0;
  new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) > 4) { width = entry.contentRect.width; redraw(); }
  }).observe(box);
  load();
})();

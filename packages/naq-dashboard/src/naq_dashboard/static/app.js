// What pages do beyond plain links and forms: live updates, times that tick, actions without leaving, keys, themes.
"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  // Texts in the language of the page, which brings the translations.
  const texts = JSON.parse(document.documentElement.dataset.texts || "{}");
  const _ = window.naqText = (text, ...values) => (texts[text] || text).replace(/%s/g, () => values.shift());

  // Times: the server writes the instant, the browser keeps the relative time up to date.
  const UNITS = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  function distance(seconds) {
    const size = Math.abs(seconds);
    if (size < 1) return _("now");
    const [unit, name] = UNITS.find(([length]) => size >= length);
    const text = `${Math.floor(size / unit)}${name}`;
    return seconds >= 0 ? _("%s ago", text) : _("in %s", text);
  }
  let isAbsolute = false;
  try { isAbsolute = localStorage.getItem("naq-times") === "absolute"; } catch (error) { /* relative */ }
  function tick(root = document) {
    if (isAbsolute) return;
    const now = Date.now();
    for (const time of $$("time[datetime]", root)) {
      const text = distance((now - Date.parse(time.getAttribute("datetime"))) / 1000);
      if (time.textContent !== text) time.textContent = text;
    }
  }
  setInterval(tick, 1000);
  tick();
  for (const choice of $$("[data-scripted]")) choice.hidden = false;
  for (const button of $$("[data-times]")) {
    button.setAttribute("aria-pressed", String((button.dataset.times === "absolute") === isAbsolute));
    button.addEventListener("click", () => {
      try { localStorage.setItem("naq-times", button.dataset.times); } catch (error) { /* nothing is kept */ }
      location.reload();
    });
  }
  // The zone stands in the address, so that whoever is sent it sees the same times.
  const zone = document.documentElement.dataset.zone, here = new URL(location);
  if (zone && zone !== "UTC" && here.searchParams.get("tz") !== zone) {
    here.searchParams.set("tz", zone);
    history.replaceState(history.state, "", here);
  }
  document.addEventListener("focusin", (event) => {
    const zones = $("#zones");
    if (event.target.name !== "tz" || zones.children.length > 1) return;
    const names = new Set([Intl.DateTimeFormat().resolvedOptions().timeZone, "UTC", ...(Intl.supportedValuesOf?.("timeZone") || [])]);
    zones.replaceChildren(...[...names].map((name) => new Option("", name)));
  });

  // Themes
  const root = document.documentElement;
  function showTheme() {
    const current = root.dataset.theme || "system";
    for (const button of $$("[data-theme-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === current));
    }
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-choice]");
    if (!button) return;
    const choice = button.dataset.themeChoice;
    if (choice === "system") delete root.dataset.theme; else root.dataset.theme = choice;
    try { localStorage.setItem("naq-theme", choice); } catch (error) { /* kept for this page only */ }
    showTheme();
    document.dispatchEvent(new CustomEvent("naq:theme"));
  });
  showTheme();

  // Live updates: live.js holds one stream for all pages of the browser; what comes is morphed in.
  const source = $("#live-source"), badge = $("#live-badge"), away = $("#away");
  let paused = false, announcedAt = -1e9, lastState = "";
  function setState(state, text) {
    if (!badge) return;
    badge.dataset.state = state;
    badge.textContent = text;
    if (state !== lastState && lastState && Date.now() - announcedAt > 10000) {
      $("#announce").textContent = _("Updates: %s", text);
      announcedAt = Date.now();
    }
    lastState = state;
  }
  // Rows do not move away under a pointer that is about to click: new ones wait until it leaves them or rests. Nothing piles
  // up meanwhile, as the server sends only the newest state to a slow reader.
  const REST = 1500;
  let movedAt = -REST, onRows = false, release = null;
  const moves = () => onRows && performance.now() - movedAt < REST;
  function follow(event) {
    movedAt = performance.now();
    onRows = Boolean(event.target.closest?.("tbody"));
    if (!onRows) release?.();
  }
  document.addEventListener("pointermove", follow);
  document.addEventListener("pointerdown", follow);
  document.documentElement.addEventListener("pointerleave", () => { onRows = false; release?.(); });
  function rowsAreStill() {
    return new Promise((resolve) => {
      const look = () => { if (moves()) timer = setTimeout(look, 200); else done(); };
      const done = () => { clearTimeout(timer); release = null; resolve(); };
      let timer = 0;
      release = done;
      look();
    });
  }
  let focused = null, focusedRow = "";
  document.addEventListener("focusin", (event) => { focused = event.target; focusedRow = focused.closest("tr")?.id || ""; });
  document.addEventListener("pointerdown", () => { focused = null; });
  function calm() {
    if (!paused && away.hidden) setState("live", _("live"));
  }
  // What has come and is not shown yet: the newest of each region, however long it waits.
  let regions = {}, isShowing = false;
  async function show() {
    if (isShowing || !window.htmx) return;
    isShowing = true;
    while (Object.keys(regions).length) {
      await rowsAreStill();
      if (paused) break;
      const now = Object.entries(regions);
      regions = {};
      const text = now.map(([id, html]) => `<hx-partial hx-target="#${CSS.escape(id)}" hx-swap="innerMorph">${html}</hx-partial>`);
      await window.htmx.swap({ sourceElement: source, target: source, swap: "none swapEmpty:false", text: text.join("") });
      shown();
    }
    isShowing = false;
  }
  // A log stays at its end, unless somebody has scrolled up to read.
  function followLogs() {
    for (const log of $$("[data-follow]")) {
      if (log.dataset.height === undefined || log.scrollTop + log.clientHeight >= Number(log.dataset.height) - 8) log.scrollTop = log.scrollHeight;
      log.dataset.height = log.scrollHeight;
    }
  }
  followLogs();
  // On phones a row is a card: each cell says what its column is.
  function labelCells() {
    for (const table of $$(".scroll table")) {
      const heads = [...(table.tHead?.rows[0]?.cells || [])].map((head) => head.querySelector(".hidden-text, input") ? "" : head.textContent.trim());
      table.classList.add("cards");
      for (const row of table.tBodies[0]?.rows || []) [...row.cells].forEach((cell, at) => { cell.dataset.label = heads[at] || ""; });
    }
  }
  labelCells();
  function shown() {
    calm();
    labelCells();
    followLogs();
    tick(); recount();
    document.dispatchEvent(new CustomEvent("naq:shown"));
    // A row that moves, or was away for one frame, loses the focus; keyboard navigation continues from there.
    if (document.activeElement === document.body && focused) {
      const again = focused.isConnected ? focused : document.getElementById(focusedRow)?.querySelector("td.main a");
      again?.focus({ preventScroll: true });
    }
  }
  function notUpdated(reason) {
    const isBack = !reason && !away.hidden;
    away.hidden = !reason;
    $("#away-reason").textContent = reason;
    if (reason) setState("away", _("not live"));
    else if (isBack && $("main > .card > .empty") && !$("[id^=live-]:not(#live-badge, #live-source, #live-script)")) location.reload();
    else calm();
  }
  let port = null, heard = false;
  function take({ data }) {
    heard = true;
    if (paused) return;
    if (data.state === "live") calm();
    else if (data.state) setState("reconnecting", _("reconnecting"));
    if ("away" in data) notUpdated(data.away);
    if (data.regions) { Object.assign(regions, data.regions); show(); }
  }
  // A page that nobody sees is not kept up to date; once seen again, it is sent all that has changed, at once.
  function join() {
    if (port && !paused && !document.hidden) port.postMessage({ join: source.dataset.page, stream: source.dataset.stream });
  }
  function leave() { port?.postMessage({ leave: true }); }
  function attach(next) {
    port = next;
    port.onmessage = take;
    join();
  }
  function alone() {
    if (port) port.onmessage = null;
    const channel = new MessageChannel();
    window.naqServe(channel.port2);
    attach(channel.port1);
  }
  if (source && badge) {
    badge.hidden = false;
    badge.addEventListener("click", () => {
      paused = !paused;
      if (paused) { setState("paused", _("paused")); leave(); } else { setState("reconnecting", _("connecting")); join(); }
    });
    document.addEventListener("visibilitychange", () => { if (document.hidden) leave(); else join(); });
    window.addEventListener("pagehide", leave);
    window.addEventListener("pageshow", (event) => { if (event.persisted) join(); });
    setInterval(join, 20000);
  }
  // This script comes before the others; here all are there.
  document.addEventListener("DOMContentLoaded", () => {
    // What the user has opened stays open when new content is morphed in.
    window.htmx?.registerExtension("naq", {
      htmx_before_morph_attr: (element, detail) => !(detail.attrName === "open" && element.matches("details, dialog")),
      htmx_before_morph_node: (element) => !(element.matches?.("[popover]:popover-open")),
    });
    if (!source || !badge) return;
    try {
      const worker = new SharedWorker($("#live-script").src, { name: source.dataset.stream });
      worker.onerror = () => { if (!heard) alone(); };
      attach(worker.port);
      setTimeout(() => { if (!heard && !document.hidden && !paused) alone(); }, 5000);
    } catch (error) { alone(); }
  });

  // Actions: the same forms that work without this script, sent without leaving the page.
  function toast(text, bad = false, undo = null) {
    const box = document.createElement("div");
    box.className = bad ? "toast bad" : "toast";
    box.textContent = text;
    if (undo) {
      const button = document.createElement("button");
      button.className = "link";
      button.textContent = _("Undo");
      button.addEventListener("click", async () => {
        box.remove();
        const body = new URLSearchParams({ ...undo.fields, _csrf_token: $("meta[name=naq-csrf]").content });
        const answer = await fetch(undo.action, { method: "POST", body, headers: { Accept: "application/json" } });
        const told = await answer.json().catch(() => ({}));
        toast(told.notice || told.detail || _("Error %s.", answer.status), !answer.ok);
      });
      box.append(" ", button);
    }
    $("#toasts").append(box);
    setTimeout(() => box.remove(), bad || undo ? 9000 : 4500);
  }
  // One dialog asks for all rows; without this script their buttons are links to the job's page, which asks too.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-ask]"), dialog = $("#ask-row");
    if (!link || !dialog || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    $("#ask-row-question").textContent = link.dataset.question;
    $("#ask-row-explain").textContent = link.dataset.explain;
    for (const name of ["job_id", "queue", "was"]) $(`input[name=${name}]`, dialog).value = link.dataset[name];
    dialog.showPopover();
  });
  // A closed dialog gives the focus back; where its button is gone meanwhile, to the content.
  document.addEventListener("toggle", (event) => {
    if (event.newState === "closed" && event.target.matches("[role=dialog]") && document.activeElement === document.body) {
      $("#content").focus({ preventScroll: true });
    }
  }, true);
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("form[data-act]")) return;
    event.preventDefault();
    if (form.ariaBusy === "true") return;
    const body = new URLSearchParams(new FormData(form, event.submitter));
    form.ariaBusy = "true";  // a button that is disabled would lose the focus
    try {
      const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
      const told = await answer.json().catch(() => ({}));
      if (answer.ok) {
        (event.submitter || form).closest("[popover]")?.hidePopover();
        if (told.location) { location.assign(told.location); return; }
        toast(told.notice || _("Done."), false, told.undo);
        $$("input[name=chosen]:checked").forEach((box) => { box.checked = false; });
        recount();
      } else {
        toast(told.detail || _("Error %s.", answer.status), true);
      }
    } catch (error) {
      toast(_("The dashboard does not answer."), true);
    } finally {
      form.ariaBusy = null;
    }
  });

  // Choosing rows: one, a range with shift, all of the page.
  let lastBox = null;
  function recount() {
    const boxes = $$("input[name=chosen]"), count = boxes.filter((box) => box.checked).length;
    for (const box of boxes) box.closest("tr")?.classList.toggle("chosen", box.checked);
    const scope = $("#bulk input[name=scope]"), label = scope?.checked ? scope.dataset.every : count && _("%s selected", count);
    for (const each of $$("[data-chosen-count]")) each.textContent = label || each.dataset.chosenCount;
    // A question has one answer: for what is chosen, or for all that match the filter.
    for (const all of $$("[name=every]")) [all.hidden, all.previousElementSibling.hidden] = [!!label, !label];
    const all = $("#choose-all");
    if (all) { all.checked = count > 0 && count === boxes.length; all.indeterminate = count > 0 && count < boxes.length; }
  }
  recount();
  document.addEventListener("click", (event) => {
    const box = event.target.closest("input[name=chosen], #choose-all, #bulk input[name=scope]");
    if (!box) return;
    const boxes = $$("input[name=chosen]");
    if (box.id === "choose-all") boxes.forEach((each) => { each.checked = box.checked; });
    else if (box.name === "chosen") {
      const from = boxes.indexOf(lastBox), to = boxes.indexOf(box);
      if (event.shiftKey && from >= 0) {
        boxes.slice(Math.min(from, to), Math.max(from, to) + 1).forEach((each) => { each.checked = box.checked; });
      }
      lastBox = box;
    }
    recount();
  });

  // Search words are suggested as one types: for the last of them, as the others stay.
  document.addEventListener("input", (event) => {
    const field = event.target;
    if (!field.matches("[data-words]")) return;
    const head = field.value.slice(0, field.value.lastIndexOf(" ") + 1), last = field.value.slice(head.length).toLowerCase();
    const fitting = last ? field.dataset.words.split(" ").filter((word) => word.startsWith(last) && word !== last) : [];
    field.list.replaceChildren(...fitting.slice(0, 12).map((word) => new Option("", head + word)));
  });

  // Zoom of a graph: by buttons, by + - 0 in it, and with Ctrl and the wheel. What is morphed in keeps it.
  let zoom = 0;  // 0: as wide as the page, as the style sheet says
  function zoomed() {
    for (const graph of $$(".dag")) {
      const wide = Number(graph.getAttribute("width")), high = Number(graph.getAttribute("height"));
      graph.style.width = zoom ? `${wide * zoom}px` : "";
      graph.style.height = zoom ? `${high * zoom}px` : "";
      graph.style.maxWidth = zoom ? "none" : "";
    }
  }
  function zoomBy(way) {
    const graph = $(".dag");
    if (!graph) return;
    const now = zoom || graph.getBoundingClientRect().width / Number(graph.getAttribute("width"));
    zoom = way === "fit" ? 0 : Math.min(4, Math.max(0.1, now * (way === "in" ? 1.25 : 0.8)));
    zoomed();
  }
  document.addEventListener("naq:shown", () => { zoomed(); for (const each of $$("[data-scripted]")) each.hidden = false; });
  document.addEventListener("click", (event) => { const button = event.target.closest("[data-zoom]"); if (button) zoomBy(button.dataset.zoom); });
  document.addEventListener("keydown", (event) => {
    const way = { "+": "in", "-": "out", "0": "fit" }[event.key];
    if (way && event.target.matches?.(".dag-box")) { event.preventDefault(); zoomBy(way); }
  });
  document.addEventListener("wheel", (event) => {
    if (!event.ctrlKey || !event.target.closest?.(".dag-box")) return;
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? "in" : "out");
  }, { passive: false });

  // Copying; plain http has no clipboard.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-of]");
    if (!button) return;
    const text = button.dataset.copy ?? document.getElementById(button.dataset.copyOf)?.innerText ?? "";
    try {
      await navigator.clipboard.writeText(text);
      toast(_("Copied."));
    } catch (error) {
      window.prompt(_("Copy:"), text);
    }
  });

  // Keys: g and a letter goes to a page, / focuses the search, j and k move between rows, x selects, ? shows the keys.
  const PLACES = { o: "", q: "queues", j: "jobs", e: "errors", u: "functions", d: "delayed", s: "schedules", f: "workflows", w: "workers", v: "events", a: "audit" };
  let going = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, [contenteditable]")) return;
    if (event.key !== "?" && $("[popover]:popover-open")) return;
    const home = $(".brand")?.getAttribute("href");
    if (going) {
      going = false;
      if (home && event.key in PLACES) location.assign(home + PLACES[event.key]);
      return;
    }
    const links = $$("tbody td.main a"), at = links.indexOf(document.activeElement);
    switch (event.key) {
      case "g": going = true; setTimeout(() => { going = false; }, 1200); break;
      case "/": { const field = $("input[type=search]"); if (field) { event.preventDefault(); field.focus(); field.select(); } break; }
      case "j": links[Math.min(at + 1, links.length - 1)]?.focus(); break;
      case "k": links[Math.max(at - 1, 0)]?.focus(); break;
      case "x": document.activeElement.closest("tr")?.querySelector("input[name=chosen]")?.click(); break;
      case "p": badge?.click(); break;
      case "?": $("#keys")?.togglePopover(); break;
    }
  });
})();

// The command palette: Ctrl-K, some letters, Enter. Pages and actions are the links and buttons of the page; the server adds what else has a name.
"use strict";
(() => {
  const dialog = document.querySelector("#palette"), open = document.querySelector("#palette-open");
  if (!dialog || !open) return;
  const field = dialog.querySelector("input"), list = dialog.querySelector("ul"), said = dialog.querySelector("[role=status]");
  const _ = window.naqText;
  const PAUSE = 120;  // milliseconds without a key before the server is asked
  let own = [], found = [], shown = [], at = 0, hasMoved = false, asking = null, chooses = false;

  function entry(element, hint) {
    const name = element.title || element.textContent.trim();
    return { name, hint: element.dataset.hint || hint, go: element.href ? () => location.assign(element.href) : () => element.click() };
  }
  function entries(selector, hint) {
    return [...document.querySelectorAll(selector)].filter((each) => !each.closest("[popover], [hidden]")).map((each) => entry(each, hint));
  }
  // What views.js keeps.
  function views() {
    try {
      const kept = JSON.parse(localStorage.getItem(`naq-views:${dialog.dataset.jobs}`) || "[]");
      return kept.map(({ name, query }) => ({ name, hint: _("saved view"), go: () => location.assign(`${dialog.dataset.jobs}?${query}`) }));
    } catch (error) { return []; }
  }
  // Pages come first: an Enter too many changes nothing.
  function collect() {
    const every = [
      ...entries(".side > .nav a", _("page")),
      ...views(),
      ...entries(".head .actions .button", _("on this page")),
      ...[...dialog.querySelectorAll("nav a")].map((each) => entry(each, _("action"))),
      ...entries("#live-badge, .side > .foot [popovertarget=keys]", _("action")),
      ...entries(".side > .foot [data-theme-choice]", _("colours")),
    ];
    return every.filter((each, place) => every.findIndex((other) => other.name === each.name) === place);
  }
  function fitting(text) {
    const words = text.toLowerCase().split(/\s+/), name = (each) => each.name.toLowerCase();
    const late = (each) => !name(each).startsWith(words[0]);
    return own.filter((each) => words.every((word) => name(each).includes(word))).sort((one, other) => late(one) - late(other));
  }
  function inJobs(text) {
    const address = `${dialog.dataset.jobs}?${new URLSearchParams({ q: text })}`;
    return { name: text, hint: _("search in jobs"), isSearch: true, go: () => location.assign(address) };
  }
  function show(text) {
    const before = shown[at];
    shown = text ? [...fitting(text), ...found, inJobs(text)] : own;
    at = hasMoved ? Math.max(0, shown.findIndex((each) => each.name === before?.name && each.hint === before.hint)) : 0;
    list.replaceChildren(...shown.map((each, place) => {
      const row = document.createElement("li"), name = document.createElement("b"), hint = document.createElement("span");
      row.id = `palette-${place}`;
      row.setAttribute("role", "option");
      name.textContent = each.name;
      hint.textContent = each.hint;
      row.append(name, hint);
      return row;
    }));
    mark();
  }
  function mark() {
    [...list.children].forEach((row, place) => row.setAttribute("aria-selected", String(place === at)));
    field.setAttribute("aria-activedescendant", `palette-${at}`);
    list.children[at]?.scrollIntoView({ block: "nearest" });
  }
  function choose() {
    const chosen = shown[at];
    dialog.close();
    chosen?.go();
  }
  async function ask(text) {
    asking?.abort();
    const mine = asking = text ? new AbortController() : null;
    found = [];
    chooses = hasMoved = false;
    said.textContent = "";
    show(text);
    if (!mine) return;
    try {
      await new Promise((resolve) => { setTimeout(resolve, PAUSE); });
      if (mine.signal.aborted) return;
      const answer = await fetch(`${dialog.dataset.find}?${new URLSearchParams({ q: text })}`, { signal: mine.signal });
      const told = await answer.json();
      if (!answer.ok) throw new Error(told.detail);
      found = told.map((each) => ({ name: each.name, hint: `${each.hint} · ${each.kind.toLowerCase()}`, go: () => location.assign(each.href) }));
    } catch (error) {
      if (mine.signal.aborted) return;
      said.textContent = _("Names and ids were not looked up: %s", error.message || _("the dashboard does not answer"));
    }
    asking = null;
    show(text);
    if (chooses) choose();
  }
  function toggle() {
    if (dialog.open) { dialog.close(); return; }
    own = collect();
    field.value = "";
    dialog.showModal();
    ask("");
  }
  open.hidden = false;
  if (/Mac|iP(hone|ad)/.test(navigator.platform)) open.querySelector("kbd").textContent = "⌘ K";
  open.addEventListener("click", toggle);
  field.addEventListener("input", () => ask(field.value.trim()));
  dialog.addEventListener("close", () => asking?.abort());
  dialog.addEventListener("mousedown", (event) => {
    if (event.target === dialog) dialog.close();
    else if (event.target !== field) event.preventDefault();  // the focus stays in the field
  });
  list.addEventListener("click", (event) => {
    const row = event.target.closest("li");
    if (!row) return;
    at = [...list.children].indexOf(row);
    choose();
  });
  field.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      at = (at + step + shown.length) % shown.length;
      hasMoved = true;
      mark();
    } else if (event.key === "Enter" && !event.isComposing) {
      // Who types fast presses Enter before the server has answered: what it finds comes before the search.
      if (asking && !hasMoved && shown[at]?.isSearch) chooses = true; else choose();
    } else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey || event.key.toLowerCase() !== "k") return;
    event.preventDefault();
    toggle();
  });

  // An address can name a question of its page, as that of a deployment's mark.
  function answerAddress() {
    const asked = location.hash.startsWith("#ask-") && document.getElementById(location.hash.slice(1));
    if (!asked || !asked.matches("[popover]")) return;
    history.replaceState(history.state, "", location.pathname + location.search);
    asked.togglePopover(true);
  }
  window.addEventListener("hashchange", answerAddress);
  answerAddress();
})();

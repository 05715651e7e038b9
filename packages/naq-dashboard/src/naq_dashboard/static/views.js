// Saved views of the jobs: a name and the query of an address, kept in this browser, and passed on as a file.
"use strict";
(() => {
  const bar = document.querySelector("#views"), dialog = document.querySelector("#views-dialog");
  if (!bar || !dialog) return;
  const $ = (selector) => dialog.querySelector(selector), _ = window.naqText;
  const jobs = bar.dataset.jobs, key = `naq-views:${jobs}`, MOST = 100, LONGEST_NAME = 60, LONGEST_QUERY = 2000, LARGEST_FILE = 300000;
  const PASSING = ["cursor", "bulk", "search", "tz"];  // parameters that belong to the moment, or to who looks

  function cleaned(query) {
    const pairs = [...new URLSearchParams(query)].filter(([name, value]) => value.trim() && !PASSING.includes(name));
    const found = new URLSearchParams(pairs);
    found.sort();
    return String(found);
  }
  function read(entries) {
    if (!Array.isArray(entries)) throw new Error(_("it is not a list of views"));
    return entries.map((each, place) => {
      const name = typeof each?.name === "string" ? each.name.trim() : "";
      if (!name || name.length > LONGEST_NAME) throw new Error(_("entry %s needs a name of at most %s characters", place + 1, LONGEST_NAME));
      if (typeof each.query !== "string" || each.query.length > LONGEST_QUERY) throw new Error(_("%s needs a query, such as state=dead", JSON.stringify(name)));
      return { name, query: cleaned(each.query) };
    });
  }
  function stored() {
    try { return read(JSON.parse(localStorage.getItem(key) || "[]")); } catch (error) { return []; }
  }
  function store(views) {
    if (views.length > MOST) throw new Error(_("a browser keeps at most %s views", MOST));
    localStorage.setItem(key, JSON.stringify(views));
    show();
  }
  function add(views) {
    const known = new Map([...stored(), ...views].map((each) => [each.name, each]));
    store([...known.values()].sort((one, other) => one.name.localeCompare(other.name)));
  }
  function link(view) {
    const made = document.createElement("a");
    made.href = `${jobs}?${view.query}`;
    made.textContent = view.name;
    if (view.query === cleaned(location.search)) made.setAttribute("aria-current", "page");
    return made;
  }
  function row(view) {
    const made = $("template").content.firstElementChild.cloneNode(true), button = made.querySelector("button");
    made.prepend(link(view));
    button.querySelector(".hidden-text").textContent = _("Delete the view %s", view.name);
    button.addEventListener("click", () => attempt(() => store(stored().filter((each) => each.name !== view.name))));
    return made;
  }
  function show() {
    const views = stored();
    bar.querySelector(".tabs").replaceChildren(...views.map(link));
    $("ul").replaceChildren(...views.map(row));
    $("[data-export]").disabled = !views.length;
  }
  // What is refused is said in the dialog; storage may be forbidden or full.
  function attempt(what) {
    $("[role=alert]").textContent = "";
    try { what(); return true; } catch (error) { $("[role=alert]").textContent = _("Not saved: %s.", error.message); return false; }
  }
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = $("input[name=name]").value;
    if (attempt(() => add(read([{ name, query: location.search.slice(1) }])))) dialog.hidePopover();
  });
  $("[data-export]").addEventListener("click", () => {
    const file = document.createElement("a");
    file.href = URL.createObjectURL(new Blob([`${JSON.stringify(stored(), null, 2)}\n`], { type: "application/json" }));
    file.download = "naq-views.json";
    file.click();
    setTimeout(() => URL.revokeObjectURL(file.href), 10000);
  });
  $("[data-import]").addEventListener("click", () => $("input[type=file]").click());
  $("input[type=file]").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    const text = file.size <= LARGEST_FILE ? await file.text() : "";
    event.target.value = "";  // the same file can be chosen again
    attempt(() => {
      if (file.size > LARGEST_FILE) throw new Error(_("%s is too large", file.name));
      let entries;
      try { entries = JSON.parse(text); } catch (error) { throw new Error(_("%s is not JSON", file.name)); }
      add(read(entries));
    });
  });
  window.addEventListener("storage", (event) => { if (event.key === key) show(); });
  show();
  bar.hidden = false;
})();

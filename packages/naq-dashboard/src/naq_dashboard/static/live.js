// One stream for all pages of a browser, which has few connections to a server: as a shared worker, it keeps a list of the pages
// that can be seen, and asks for all of them at once. A browser without shared workers runs the same in the page.
"use strict";
(() => {
  const SILENT = 60000;  // milliseconds after which a page that says nothing is gone; each says "join" every 20 s
  const BURST = 30, AGAIN = 5000;
  const pages = new Map();  // by port: what the page is called, and when it was heard of
  let source = null, address = "", pending = 0, again = 0, state = "reconnecting";

  function tell(what) {
    state = what;
    for (const port of pages.keys()) port.postMessage({ state });
  }
  function open() {
    clearTimeout(pending); clearTimeout(again);
    pending = 0;
    const before = source, asked = [...new Set([...pages.values()].map((page) => page.name))];
    if (!asked.length) { before?.close(); source = null; return; }
    // The one before goes on until this one is there: the server then has both show the same, and does the work once.
    const next = source = new EventSource(`${address}?${new URLSearchParams(asked.map((name) => ["page", name]))}`);
    next.onopen = () => { before?.close(); if (next === source) tell("live"); };
    next.onerror = () => {
      before?.close();
      if (next !== source) return;
      tell("reconnecting");
      if (next.readyState === EventSource.CLOSED) { clearTimeout(again); again = setTimeout(open, AGAIN); }
    };
    next.onmessage = (event) => {
      if (next !== source) return;
      const told = JSON.parse(event.data);
      for (const [port, page] of pages) if (page.name === told.page) port.postMessage(told);
    };
  }
  function soon() { if (!pending) pending = setTimeout(open, BURST); }
  function leave(port) { if (pages.delete(port)) soon(); }
  function serve(port) {
    port.onmessage = ({ data }) => {
      if (data.leave) { leave(port); return; }
      address = data.stream;
      const known = pages.get(port)?.name === data.join;
      pages.set(port, { name: data.join, at: Date.now() });
      port.postMessage({ state });
      if (!known) soon();  // also for a page that is already asked for: it may have been made before the latest frame
    };
  }
  setInterval(() => {
    for (const [port, page] of pages) if (Date.now() - page.at > SILENT) leave(port);
  }, SILENT / 4);

  if (self.SharedWorkerGlobalScope) self.onconnect = (event) => serve(event.ports[0]);
  else window.naqServe = serve;
})();

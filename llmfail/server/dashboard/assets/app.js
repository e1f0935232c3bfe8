/* What keeps a page of the dashboard live: one stream of events, countdowns, charts. Without it the pages work too. */
"use strict";
(() => {
  const MOST_ROWS = 100;
  const page = document.body.dataset.page;
  const connection = document.getElementById("connection");
  const charts = new Map();

  /* Fragments: HTML that the server has escaped. What was open or had the focus is so again afterwards. */
  const openDetails = (root) => [...root.querySelectorAll("details[open][id]")].map((one) => one.id);

  function replace(fragment) {
    const place = document.getElementById("fragment-" + fragment.name);
    if (!place) return;
    const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
    const opened = openDetails(place);
    const kept = new Map([...place.querySelectorAll("[data-chart]")].map((one) => [one.dataset.table, one]));
    place.innerHTML = fragment.html;
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    for (const one of place.querySelectorAll("[data-chart]")) {
      const before = kept.get(one.dataset.table);
      if (before) one.replaceWith(before);
    }
    if (focused) document.getElementById(focused)?.focus();
    draw(place);
    countDown();
    markScrollers();
  }

  function prepend(fragment) {
    const list = document.getElementById("rows-" + fragment.name);
    if (!list) return;
    if (fragment.whole) list.replaceChildren();
    const made = document.createElement("template");
    made.innerHTML = fragment.html;
    const rows = [...made.content.querySelectorAll("[data-row]")];
    for (const row of rows) if (!fragment.whole) row.classList.add("new");
    list.prepend(...rows);
    while (list.children.length > MOST_ROWS) list.lastElementChild.remove();
  }

  /* What is wider or higher than its place can be scrolled with the keyboard. */
  function markScrollers() {
    for (const one of document.querySelectorAll(".scroll")) {
      const scrolls = one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight;
      for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", one.dataset.label]]) {
        if (scrolls) one.setAttribute(name, value); else one.removeAttribute(name);
      }
    }
  }

  /* One stream. A browser comes back by itself when the connection ends, but not after a refusal. */
  let wait = 1000;
  function listen() {
    const source = new EventSource("/dashboard/events?page=" + encodeURIComponent(page));
    source.addEventListener("open", () => { wait = 1000; say("live", false); });
    source.addEventListener("fragment", (event) => replace(JSON.parse(event.data)));
    source.addEventListener("rows", (event) => prepend(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      say("connection lost, trying again", true);
      if (source.readyState !== EventSource.CLOSED) return;
      source.close();
      setTimeout(listen, wait);
      wait = Math.min(wait * 2, 15000);
    });
    addEventListener("pagehide", () => source.close(), { once: true });
  }

  function say(text, lost) {
    connection.hidden = false;
    connection.classList.toggle("lost", lost);
    if (connection.textContent !== text) connection.textContent = text;
  }

  /* Countdowns behind moments that the server has written as clock times. */
  function inWords(seconds) {
    const steps = [[86400, "d", 3600, "h"], [3600, "h", 60, "m"], [60, "m", 1, "s"]];
    for (const [size, unit, part, smaller] of steps) {
      if (seconds >= size) return Math.floor(seconds / size) + unit + String(Math.floor((seconds % size) / part)).padStart(2, "0") + smaller;
    }
    return seconds + "s";
  }

  function countDown() {
    for (const one of document.querySelectorAll("time[data-until]")) {
      const left = Math.max(Math.ceil((Date.parse(one.dataset.until) - Date.now()) / 1000), 0);
      one.dataset.clock ??= one.textContent;
      const text = one.dataset.clock + " (" + (left ? "in " + inWords(left) : "now") + ")";
      if (one.textContent !== text) one.textContent = text;
    }
  }

  /* Charts are drawn from the tables below them. */
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  function readTable(table) {
    const heads = [...table.tHead.rows[0].cells].slice(1).filter((one) => one.dataset.colour);
    const rows = [...table.tBodies[0].rows];
    const numbers = (column) => rows.map((row) => {
      const cell = row.cells[column + 1];
      const text = cell.dataset.value ?? cell.textContent;
      return text === "" ? null : Number(text);
    });
    const at = rows.map((row) => (row.dataset.day ? Date.parse(row.dataset.day + "T12:00:00") / 1000 : Number(row.dataset.x)));
    return { at, names: heads.map((one) => one.textContent), colours: heads.map((one) => one.dataset.colour), columns: heads.map((_, column) => numbers(column)) };
  }

  const sumUp = (columns) => columns.map((_, last) => columns[0].map((__, row) => columns.slice(0, last + 1).reduce((sum, one) => sum + one[row], 0)));

  const when = (kind, at) => new Date(at * 1000).toLocaleString("en-GB", kind === "days" ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit" });

  function makeChart(place, kind, table) {
    const bars = kind !== "line";
    const stacked = kind === "stack" ? sumUp(table.columns) : table.columns;
    const order = table.columns.map((_, number) => number).reverse();
    const axis = { stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const fill = (name) => colour(name === "accent" ? "accent" : name + "-fill");
    const shown = (value) => (value === null || value === undefined ? "" : kind === "days" ? "$" + value.toFixed(value < 1 ? 4 : 2) : kind === "line" ? value.toFixed(2) + " s" : String(value));
    const series = order.map((number) => ({
      label: table.names[number], width: bars ? 0 : 2, stroke: fill(table.colours[number]), fill: bars ? fill(table.colours[number]) : undefined,
      paths: bars ? uPlot.paths.bars({ size: [0.72, 40], radius: 0.15 }) : undefined, points: { show: !bars, size: 5, fill: fill(table.colours[number]) },
      spanGaps: false, value: (_, __, ___, row) => (row === null ? "" : shown(table.columns[number][row])),
    }));
    const last = Math.max(...stacked.flat().filter((one) => one !== null), 0);
    const most = last > 0 ? last * 1.1 : 1;
    const options = {
      width: place.clientWidth, height: 168, cursor: { y: false, points: { show: false } }, legend: { live: true },
      scales: { x: { time: true, range: bars ? (_, low, high) => { const gap = (high - low) / Math.max(table.at.length - 1, 1) / 2; return [low - gap, high + gap]; } : undefined }, y: { range: [0, most] } },
      axes: [{ ...axis, grid: { show: false }, size: 28, values: (_, ticks) => ticks.map((one) => when(kind, one)) }, { ...axis, size: 52, values: (_, ticks) => ticks.map((one) => (kind === "days" ? "$" + one : kind === "line" ? one + " s" : Number.isInteger(one) ? one : "")) }],
      series: [{ label: "", value: (_, at) => (at === null ? "" : when(kind, at)) }, ...series],
    };
    return new uPlot(options, [table.at, ...order.map((number) => stacked[number])], place);
  }

  function draw(root) {
    if (typeof uPlot === "undefined") return;
    for (const place of root.querySelectorAll("[data-chart]")) {
      const table = document.getElementById(place.dataset.table);
      if (!table) continue;
      charts.get(place.dataset.table)?.destroy();
      place.setAttribute("aria-hidden", "true");
      place.replaceChildren();
      place.style.display = "block";
      charts.set(place.dataset.table, makeChart(place, place.dataset.chart, readTable(table)));
    }
  }

  let timer = 0;
  const drawAgain = () => { clearTimeout(timer); timer = setTimeout(() => { draw(document); markScrollers(); }, 100); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAgain);
  addEventListener("resize", drawAgain);
  draw(document);
  countDown();
  markScrollers();
  addEventListener("toggle", markScrollers, true);
  setInterval(countDown, 1000);
  listen();
})();

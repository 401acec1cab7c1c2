"use strict";
/* The page at work: draws the plots, keeps their times together, and answers to scheme, paper, keys and choices. */

const CONFIG = { displaylogo: false, responsive: true, displayModeBar: false, scrollZoom: false, showTips: false };
const specs = unpackAll(report.plots);

function holder(name) {
  return document.getElementById(`plot-${name}`);
}

function specOf(name) {
  const all = specs[name];
  return all[all.length > 1 ? view.instrument : 0];
}

function traceKey(name, trace) {
  return `${name} ${trace.name}`;
}

function tracesOf(name) {
  const spec = specOf(name);
  const traces = spec.kind === "price" ? priceTraces(spec, shownRange()) : spec.traces.map((trace) => ({ ...trace }));
  for (const trace of traces) {
    const key = traceKey(name, trace);
    if (trace.quiet && !view.off.has(`${key} asked`)) view.off.add(key);
    trace.visible = !view.off.has(key);
  }
  return traces;
}

function draw(name) {
  const spec = specOf(name);
  const traces = tracesOf(name);
  const layout = layoutOf(name, spec.layout || PRICE_LAYOUT);
  if (TIME_PLOTS.includes(name)) {
    for (const key of Object.keys(layout).filter((one) => /^yaxis\d?$/.test(one))) {
      const range = fitted(traces, key.replace("axis", ""), shownRange());
      if (range !== null) layout[key].range = range;
    }
  }
  Plotly.react(holder(name), painted(traces.map(plain)), layout, { ...CONFIG, doubleClick: TIME_PLOTS.includes(name) ? false : "reset+autosize" });
  legend(name, traces);
}

const PRICE_LAYOUT = { height: 520, xaxis: { type: "date", rangeslider: { visible: false } }, yaxis: { tickformat: ",~f", title: "price" } };

/** A trace without the words that only this page reads. */
function plain(trace) {
  const { area, outside, partner, quiet, ...rest } = trace;
  if (rest.type === "candlestick") delete rest.y;
  return rest;
}

function legend(name, traces) {
  const list = document.querySelector(`[data-legend="${name}"]`);
  const focused = list.contains(document.activeElement) ? document.activeElement.textContent : null;
  list.replaceChildren(...traces.filter((trace) => !trace.partner).map((trace) => {
    const button = document.createElement("button");
    const key = traceKey(name, trace);
    button.type = "button";
    button.setAttribute("aria-pressed", String(trace.visible));
    button.append(swatch(trace), trace.name);
    button.addEventListener("click", () => {
      if (!view.off.delete(key)) view.off.add(key);
      else view.off.add(`${key} asked`);
      draw(name);
    });
    return button;
  }));
  if (focused !== null) [...list.children].find((button) => button.textContent === focused)?.focus();
}

/** Show a stretch of time in every plot that has time; null shows all. */
function showRange(range) {
  view.range = range;
  for (const button of document.querySelectorAll("[data-whole]")) button.hidden = range === null;
  for (const name of TIME_PLOTS) if (holder(name)) draw(name);
}

function milliseconds(moment) {
  return typeof moment === "number" ? moment : Date.parse(`${moment.replace(" ", "T")}Z`);
}

/** Plots hand out times as texts, with or without a time of day. */
function toMilliseconds(moment) {
  if (typeof moment === "string" && !moment.includes(" ")) return Date.parse(`${moment}T00:00:00Z`);
  return milliseconds(moment);
}

function listen(name) {
  const plot = holder(name);
  if (!TIME_PLOTS.includes(name)) return;
  plot.on("plotly_relayout", (change) => {
    const low = change["xaxis.range[0]"];
    const high = change["xaxis.range[1]"];
    if (low === undefined || high === undefined) return;
    const range = [toMilliseconds(low), toMilliseconds(high)];
    const clipped = [Math.max(range[0], report.span[0]), Math.min(range[1], report.span[1])];
    if (clipped[1] > clipped[0]) showRange(clipped);
  });
  plot.on("plotly_doubleclick", () => showRange(null));
}

function drawAll() {
  for (const name of Object.keys(specs)) draw(name);
}

/** Draw one plot at a time, so that the page can be read meanwhile. */
async function start() {
  for (const name of Object.keys(specs)) {
    draw(name);
    listen(name);
    await new Promise((done) => setTimeout(done, 0));
  }
  document.documentElement.dataset.ready = "yes";
}

function chooseInstrument(index) {
  view.instrument = index;
  for (const name of Object.keys(specs)) if (specs[name].length > 1) draw(name);
  for (const select of document.querySelectorAll("[data-instrument]")) select.value = String(index);
  for (const part of document.querySelectorAll("[data-of-instrument]")) part.textContent = report.instruments[index];
}

for (const select of document.querySelectorAll("[data-instrument]")) {
  select.addEventListener("change", () => chooseInstrument(Number(select.value)));
}
for (const button of document.querySelectorAll("[data-whole]")) button.addEventListener("click", () => showRange(null));
for (const button of document.querySelectorAll("[data-last]")) {
  button.addEventListener("click", () => {
    const days = Number(button.dataset.last) * 86400000;
    const end = shownRange()[1];
    showRange([Math.max(report.span[0], end - days), end]);
  });
}
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.activeElement?.classList.contains("card")) document.activeElement.blur();
});
darkScheme.addEventListener("change", drawAll);
addEventListener("beforeprint", () => {
  view.printing = true;
  drawAll();
});
addEventListener("afterprint", () => {
  view.printing = false;
  drawAll();
});
start();

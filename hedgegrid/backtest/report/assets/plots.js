"use strict";
/* Reading the page's rows, and what every plot shares: colours of the scheme, axes, marks of the legend. */

const report = JSON.parse(document.getElementById("report-rows").textContent);
const PRINT_WIDTH = 700;
const PRINT_HALF = 340;
const PRINT_HEIGHT = 0.8;
const HALVES = ["profit", "holding"];
const TIME_PLOTS = ["price", "equity", "inventory", "costs", "distance"];
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const coarsePointer = matchMedia("(pointer: coarse)");

/** What changes while the page is open: the instrument, the stretch of time, the traces that are off, paper or screen. */
const view = { instrument: 0, range: null, off: new Set(), printing: false };

function isPacked(value) {
  return value !== null && typeof value === "object" && Array.isArray(value.d) && typeof value.u === "number";
}

function unpack(column) {
  const values = new Float64Array(column.d.length);
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    sum += column.d[i];
    values[i] = sum * column.u;
  }
  return values;
}

/** Unpack every packed column below a value, once. */
function unpackAll(value) {
  if (isPacked(value)) return unpack(value);
  if (Array.isArray(value)) return value.map(unpackAll);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unpackAll(inner)]));
}

function colours() {
  return report.palettes[darkScheme.matches && !view.printing ? "dark" : "light"];
}

/** "$name" or "$name/0.2" as a colour of the present scheme. */
function colour(word) {
  const match = /^\$([a-z]+)(?:\/([\d.]+))?$/.exec(word);
  if (match === null) return word;
  const hex = colours()[match[1]];
  if (match[2] === undefined) return hex;
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${red},${green},${blue},${match[2]})`;
}

/** A copy of a description with its colours put in; columns are shared, not copied. */
function painted(value, key = "") {
  if (typeof value === "string") return /color$/i.test(key) ? colour(value) : value;
  if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) return value.map((inner) => painted(inner, key));
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, painted(inner, name)]));
}

function axis(own, isTime) {
  const { title, ...rest } = own;
  return {
    gridcolor: "$rule", linecolor: "$rule", zerolinecolor: "$muted", zerolinewidth: 1, tickcolor: "$rule",
    tickfont: { size: 12 }, fixedrange: !isTime, automargin: false, zeroline: false,
    ...(title ? { title: { text: title, font: { size: 12 }, standoff: 6 } } : {}),
    ...(isTime ? { hoverformat: "%a %Y-%m-%d %H:%M UTC", showspikes: true, spikemode: "across", spikethickness: 1,
      spikecolor: "$muted", spikedash: "dot", spikesnap: "cursor" } : {}),
    ...rest,
  };
}

function layoutOf(name, own) {
  const layout = {
    autosize: !view.printing, showlegend: false, hovermode: "closest", barmode: own.barmode,
    margin: { l: 74, r: 18, t: 12, b: 40 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", size: 13, color: "$ink" },
    hoverlabel: { bgcolor: "$surface", bordercolor: "$rule", font: { color: "$ink", size: 12.5 }, align: "left" },
    dragmode: coarsePointer.matches ? false : "zoom",
  };
  for (const [key, value] of Object.entries(own)) {
    const isAxis = /^[xy]axis\d?$/.test(key);
    layout[key] = isAxis ? axis(value, key[0] === "x" && value.type === "date") : value;
  }
  if (view.printing) {
    layout.width = HALVES.includes(name) ? PRINT_HALF : PRINT_WIDTH;
    layout.height = Math.round(own.height * PRINT_HEIGHT);
  }
  layout.uirevision = `${name} ${view.instrument}`;
  if (TIME_PLOTS.includes(name)) {
    layout.xaxis.range = view.range === null ? report.span.slice() : view.range.slice();
    layout.shapes = (own.shapes || []).concat(pauseShades(name));
  }
  return painted(layout);
}

/** The pauses as shades behind a plot of time; those of another instrument are left out of what shows one. */
function pauseShades(name) {
  const single = name === "price" || name === "inventory";
  return report.pauses
    .filter((pause) => !single || pause.instrument < 0 || pause.instrument === view.instrument)
    .map((pause) => ({ type: "rect", xref: "x", yref: "paper", layer: "below", x0: pause.from, x1: pause.to, y0: 0, y1: 1,
      fillcolor: "$pause/0.14", line: { width: 0 } }));
}

/** The first index whose value is not below `wanted`; `values` ascend. */
function lowerBound(values, wanted) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Lowest and highest of what is in view on one y axis, with some air. */
function fitted(traces, axisName, range) {
  let low = Infinity;
  let high = -Infinity;
  for (const trace of traces) {
    if ((trace.yaxis || "y") !== axisName || trace.visible === false || !trace.y || trace.outside) continue;
    const first = Math.max(0, lowerBound(trace.x, range[0]) - 1);
    for (let i = first; i < trace.y.length && trace.x[i] <= range[1]; i++) {
      if (trace.y[i] < low) low = trace.y[i];
      if (trace.y[i] > high) high = trace.y[i];
    }
    if (trace.fill === "tozeroy") {
      low = Math.min(low, 0);
      high = Math.max(high, 0);
    }
  }
  if (low > high) return null;
  const air = (high - low || Math.abs(high) || 1) * 0.05;
  return [low >= 0 ? Math.max(low - air, 0) : low - air, high + air];
}

function shownRange() {
  return view.range === null ? report.span : view.range;
}

const SVG = "http://www.w3.org/2000/svg";
const MARKS = {
  "triangle-up": "M9 2 15 12H3Z", "triangle-down": "M9 12 3 2H15Z", circle: "M9 2.5a4.5 4.5 0 1 0 .01 0Z",
  x: "M4 2 9 6 14 2 15 3 10.5 7 15 11 14 12 9 8 4 12 3 11 7.5 7 3 3Z", square: "M4 2H14V12H4Z",
  diamond: "M9 1 15 7 9 13 3 7Z", star: "M9 0l2 5h6l-5 3 2 6-5-4-5 4 2-6-5-3h6z",
};

/** A small picture of a trace for its button: a line, an area or a mark. */
function swatch(trace) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 18 14");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  const main = colour((trace.marker && trace.marker.color) || (trace.line && trace.line.color) || trace.fillcolor || "$ink");
  const symbol = trace.mode === "markers" ? (trace.marker.symbol || "circle") : trace.type === "bar" ? "square" : "";
  if (symbol) {
    path.setAttribute("d", MARKS[symbol.replace("-open", "")] || MARKS.circle);
    const open = symbol.endsWith("-open");
    path.setAttribute("fill", open ? "none" : main);
    if (open) path.setAttribute("stroke-width", "1.8");
  } else if (trace.area) {
    path.setAttribute("d", "M1 2H17V12H1Z");
    path.setAttribute("fill", colour(trace.fillcolor));
  } else {
    path.setAttribute("d", "M1 7H17");
    path.setAttribute("stroke-width", "2.4");
    const dash = trace.line && trace.line.dash;
    if (dash) path.setAttribute("stroke-dasharray", dash === "dot" ? "2 2" : "5 3");
  }
  path.setAttribute("stroke", main);
  svg.append(path);
  return svg;
}

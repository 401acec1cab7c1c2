"use strict";
/* The picture of a market: candles or a band, the grid, the fills and stops of the stretch of time that is in view. */

const STEPS_DRAWN = 1400;
const CANDLES_DRAWN = 260;
const FILLS_DRAWN = 700;
const RARE_DRAWN = 350;
const FILLS_LOOSE = 250;
const RECTANGLES_DRAWN = 500;
const ENTRY = 0;
const RARE_FROM = 2;
const LEGS = [["LONG", "$long"], ["SHORT", "$short"]];
const PURPOSES = ["entry", "take-profit", "stop", "flatten", "backstop", "liquidation"];
const SYMBOLS = ["", "circle-open", "x", "square", "square", "star"];
const SIZES = [8, 7, 9, 9, 9, 15];

/** Join candles of a stretch so that at most `most` are left; extremes and last prices are kept. */
function joined(candles, range, most) {
  const first = Math.max(0, lowerBound(candles.t, range[0]) - 1);
  const last = Math.min(candles.t.length, lowerBound(candles.t, range[1]) + 1);
  const width = Math.max(1, Math.ceil((last - first) / most));
  const out = { t: [], o: [], h: [], l: [], c: [], width };
  for (let at = first; at < last; at += width) {
    const end = Math.min(last, at + width);
    let high = -Infinity;
    let low = Infinity;
    for (let i = at; i < end; i++) {
      if (candles.h[i] > high) high = candles.h[i];
      if (candles.l[i] < low) low = candles.l[i];
    }
    out.t.push(candles.t[at]);
    out.o.push(candles.o[at]);
    out.h.push(high);
    out.l.push(low);
    out.c.push(candles.c[end - 1]);
  }
  return out;
}

function priceTraces(spec, range) {
  const drawn = joined(spec.candles, range, STEPS_DRAWN);
  const digits = `,.${spec.decimals}f`;
  const few = drawn.t.length <= CANDLES_DRAWN;
  const closeLabel = `close %{y:${digits}}<br>%{x|%Y-%m-%d %H:%M} UTC<extra></extra>`;
  const fills = fillTraces(spec, range);
  const traces = gridTraces(spec, range);
  traces.push(...stopTraces(spec, range));
  if (few) {
    traces.push({ type: "candlestick", name: "Price", x: drawn.t, open: drawn.o, high: drawn.h, low: drawn.l, close: drawn.c,
      y: drawn.c, increasing: { line: { color: "$price", width: 1 }, fillcolor: "$surface" },
      decreasing: { line: { color: "$price", width: 1 }, fillcolor: "$price" }, line: { color: "$price" }, hoverinfo: "x+y" });
  } else {
    traces.push({ type: "scatter", mode: "lines", name: "Low to high", x: drawn.t, y: drawn.l, line: { width: 0 },
      hoverinfo: "skip", partner: true });
    traces.push({ type: "scatter", mode: "lines", name: "Low to high", x: drawn.t, y: drawn.h, line: { width: 0 },
      fill: "tonexty", fillcolor: "$price/0.35", area: true, hoverinfo: "skip" });
    traces.push({ type: "scatter", mode: "lines", name: "Close", x: drawn.t, y: drawn.c,
      line: { color: "$price", width: 1.3 }, hovertemplate: closeLabel });
  }
  traces.push(...fills.traces);
  sayWhatIsShown(spec, drawn.width * spec.step, few, fills);
  return traces;
}

/** Centers as a staircase, and for each leg the room between its nearest and its farthest rung. */
function gridTraces(spec, range) {
  const grid = spec.grid;
  const first = Math.max(0, lowerBound(grid.t, range[0]) - 1);
  const last = lowerBound(grid.t, range[1]);
  const width = Math.max(1, Math.ceil((last - first) / RECTANGLES_DRAWN));
  const centers = { x: [], y: [] };
  const rooms = LEGS.map(() => ({ x: [], y: [] }));
  for (let at = first; at < last; at += width) {
    const next = Math.min(last, at + width);
    const ends = next < grid.t.length ? grid.t[next] : spec.end;
    for (let i = at; i < next; i++) {
      centers.x.push(grid.t[i]);
      centers.y.push(grid.c[i]);
    }
    if (next === last) {
      centers.x.push(ends);
      centers.y.push(grid.c[last - 1]);
    }
    for (const leg of [0, 1]) {
      const low = lowest(grid.bounds[2 * leg], at, next);
      const high = highest(grid.bounds[2 * leg + 1], at, next);
      if (high === 0) continue;
      rooms[leg].x.push(grid.t[at], ends, ends, grid.t[at], grid.t[at], null);
      rooms[leg].y.push(low, low, high, high, low, null);
    }
  }
  const traces = rooms.map((room, leg) => ({ type: "scatter", mode: "lines", name: `${LEGS[leg][0]} ladder`, x: room.x, y: room.y,
    fill: "toself", fillcolor: `${LEGS[leg][1]}/0.15`, line: { width: 0 }, area: true, outside: true, hoverinfo: "skip" }));
  traces.push({ type: "scatter", mode: "lines", name: "Grid center", x: centers.x, y: centers.y, hoverinfo: "skip", outside: true,
    line: { color: "$center", width: 1.2, shape: "hv", dash: "dash" } });
  return traces;
}

function lowest(bounds, from, to) {
  let low = Infinity;
  for (let i = from; i < to; i++) if (bounds[i] > 0 && bounds[i] < low) low = bounds[i];
  return low;
}

function highest(bounds, from, to) {
  let high = 0;
  for (let i = from; i < to; i++) if (bounds[i] > high) high = bounds[i];
  return high;
}

/** Where stops rested, each as a line at its price; off until asked for. */
function stopTraces(spec, range) {
  const stops = spec.stops;
  if (stops.a.length === 0) return [];
  const inView = [];
  for (let i = 0; i < stops.a.length; i++) if (stops.b[i] >= range[0] && stops.a[i] <= range[1]) inView.push(i);
  const stride = Math.max(1, Math.ceil(inView.length / RARE_DRAWN));
  return LEGS.map(([leg, tone], code) => {
    const trace = { type: "scatter", mode: "lines", name: `${leg} resting stops`, x: [], y: [], hoverinfo: "skip",
      line: { color: tone, width: 1, dash: "dot" }, quiet: true, outside: true };
    for (let k = 0; k < inView.length; k += stride) {
      const i = inView[k];
      if (stops.leg[i] !== code) continue;
      trace.x.push(stops.a[i], stops.b[i], null);
      trace.y.push(stops.p[i], stops.p[i], null);
    }
    return trace;
  });
}

function fillName(leg, purpose) {
  return `${LEGS[leg][0]} ${PURPOSES[purpose]}`;
}

function fillLabel(spec, i) {
  const fills = spec.fills;
  const exit = fills.purpose[i] !== ENTRY;
  const rung = fills.level[i] > 0 ? `, level ${fills.level[i]}` : "";
  const quantity = (fills.q[i] * fills.lot).toFixed(fills.lotDecimals);
  const gain = exit ? `<br>realised ${fills.realised[i] > 0 ? "+" : ""}${fills.realised[i].toFixed(2)}` : "";
  return `${fillName(fills.leg[i], fills.purpose[i])}${rung}<br>${quantity} at ${fills.p[i].toFixed(spec.decimals)}${gain}`;
}

/** The fills in view as one trace for each leg and purpose; the frequent kinds are thinned evenly. */
function fillTraces(spec, range) {
  const fills = spec.fills;
  const first = lowerBound(fills.t, range[0]);
  const last = lowerBound(fills.t, range[1] + 1);
  let rare = 0;
  for (let i = first; i < last; i++) if (fills.purpose[i] >= RARE_FROM) rare++;
  const strides = [last - first - rare, rare].map((n, isRare) => Math.max(1, Math.ceil(n / (isRare ? RARE_DRAWN : FILLS_DRAWN))));
  const seen = [0, 0];
  const traces = new Map();
  const size = last - first > FILLS_DRAWN ? 0.55 : last - first > FILLS_LOOSE ? 0.8 : 1;
  let shown = 0;
  for (let i = first; i < last; i++) {
    const isRare = fills.purpose[i] >= RARE_FROM ? 1 : 0;
    if (seen[isRare]++ % strides[isRare] !== 0) continue;
    const key = fills.purpose[i] * 2 + fills.leg[i];
    if (!traces.has(key)) traces.set(key, fillTrace(fills.leg[i], fills.purpose[i], size));
    const trace = traces.get(key);
    trace.x.push(fills.t[i]);
    trace.y.push(fills.p[i]);
    trace.text.push(fillLabel(spec, i));
    shown++;
  }
  const ordered = [...traces.keys()].sort((one, other) => one - other).map((key) => traces.get(key));
  return { traces: ordered, shown, inView: last - first };
}

function fillTrace(leg, purpose, size) {
  const symbol = purpose === ENTRY ? (leg === 0 ? "triangle-up" : "triangle-down") : SYMBOLS[purpose];
  return { type: "scatter", mode: "markers", name: fillName(leg, purpose), x: [], y: [], text: [],
    hovertemplate: "%{text}<br>%{x|%Y-%m-%d %H:%M:%S} UTC<extra></extra>",
    marker: { symbol, size: SIZES[purpose] * size, color: LEGS[leg][1], opacity: 0.4 + 0.5 * size,
      line: { width: (symbol.endsWith("-open") ? 1.5 : 0.5) * size, color: symbol.endsWith("-open") ? LEGS[leg][1] : "$surface" } } };
}

function lengthText(ms) {
  const minutes = ms / 60000;
  if (minutes < 1) return `${ms / 1000} s`;
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 1440) return `${+(minutes / 60).toFixed(2)} h`;
  return `${+(minutes / 1440).toFixed(2)} days`;
}

/** Say under the picture what was thinned. */
function sayWhatIsShown(spec, step, few, fills) {
  const number = (value) => value.toLocaleString("en");
  const held = spec.fills.t.length === spec.fills.total ? "" :
    ` that this page holds (${number(spec.fills.t.length)} of the ${number(spec.fills.total)} fills of this instrument, evenly chosen, stops first)`;
  const counts = fills.shown === fills.inView ? `Showing all ${number(fills.inView)} fills in view${held}.` :
    `Showing ${number(fills.shown)} of ${number(fills.inView)} fills in view${held}: drag over a stretch to see more.`;
  const form = few ? `Each candle is ${lengthText(step)}.` :
    `Each step of the price is ${lengthText(step)}: the band runs from its low to its high, the line is its close.`;
  document.querySelector('[data-shown="price"]').textContent = `${counts} ${form}`;
}

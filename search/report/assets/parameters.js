// Parallel coordinates, importance, slices, and the progress of the search.
const sampled = placed.filter((trial) => !trial.candidate && (trial.state === "complete" || trial.state === "raced"));

// Where a value stands on its own axis, from 0 to 1; null where the trial has no such parameter.
function place(param, value) {
  if (value === undefined || value === null) return null;
  if (param.choices) return param.choices.length < 2 ? 0.5 : param.choices.indexOf(String(value)) / (param.choices.length - 1);
  const turn = param.log ? Math.log : (v) => v;
  const low = turn(param.low), high = turn(param.high);
  return high > low ? (turn(value) - low) / (high - low) : 0.5;
}

function parallelAxes() {
  const range = (values) => ({ low: Math.min(...values), high: Math.max(...values), log: false, choices: null });
  return [
    ...data.params.map((param) => ({ ...param, of: (trial) => trial.params[param.name] })),
    { name: data.steps_words, ...range(sampled.map((t) => at(t)[0])), of: (trial) => at(trial)[0] },
    { name: data.quality_words, ...range(sampled.map((t) => at(t)[1])), of: (trial) => at(trial)[1] },
  ];
}

chart("parallel", (colour) => {
  const axes = sampled.length ? parallelAxes() : [];
  const order = [...sampled].sort((a, b) => at(b)[1] - at(a)[1]);
  const cut = Math.min(20, Math.ceil(order.length / 5));
  const group = (trials, name, tint, width, opacity, mode = "lines") => {
    const x = [], y = [], customdata = [], text = [];
    for (const trial of trials) {
      axes.forEach((one, i) => {
        x.push(i); y.push(place(one, one.of(trial))); customdata.push(trial.n);
        text.push(`${plain(trial.name)}<br>${plain(one.name)} ${plain(number(one.of(trial)))}`);
      });
      x.push(null); y.push(null); customdata.push(null); text.push("");
    }
    return { type: "scatter", mode, x, y, customdata, text, hoverinfo: "text", name, line: { color: tint, width }, marker: { size: 6, color: tint }, opacity, connectgaps: false };
  };
  const chosen = sampled.filter((trial) => trial.n === shown);
  const traces = [
    group(order.slice(cut), "others", colour.grey, 0.8, 0.35), group(order.slice(0, cut), `best ${cut} by ${plain(data.quality_words)}`, colour.blue, 1.3, 0.7),
    group(chosen, chosen.length ? plain(chosen[0].name) : "", colour.orange, 3.5, 1, "lines+markers"),
  ].filter((trace) => trace.x.length);
  const ends = (one) => (one.choices ? one.choices.map((choice, i) => [place(one, choice), choice]) : [[0, number(one.low)], [1, number(one.high)]]);
  const annotations = axes.flatMap((one, i) => ends(one).map(([y, words]) => ({
    x: i, y, text: plain(words), showarrow: false, font: { size: 10, color: colour.quiet }, xanchor: "left", xshift: 5, yshift: one.choices ? 0 : y ? 9 : -9, bgcolor: colour.paper, opacity: 0.9,
  })));
  const shapes = axes.map((_, i) => ({ type: "line", x0: i, x1: i, y0: 0, y1: 1, line: { color: colour.quiet, width: 1 }, layer: "below" }));
  return {
    traces,
    layout: layout(colour, {
      annotations, shapes, showlegend: true,
      xaxis: axis("", colour, { tickvals: axes.map((_, i) => i), ticktext: axes.map((one) => plain(one.name) + (one.log ? " (log)" : "")), showgrid: false, range: [-0.5, axes.length - 0.3] }),
      yaxis: { visible: false, range: [-0.1, 1.1] },
    }),
  };
});

const decided = data.importance.values;
chart("importance", (colour) => {
  const names = [...new Set(Object.values(decided).flatMap((one) => Object.keys(one)))].reverse();
  const words = { [data.quality_key]: data.quality_words, [data.steps_key]: data.steps_words };
  const tints = [colour.blue, colour.orange], patterns = ["", "/"];
  const traces = Object.entries(decided).map(([objective, shares], i) => ({
    type: "bar", orientation: "h", name: words[objective] ?? objective, y: names.map(plain), x: names.map((name) => shares[name] ?? 0),
    marker: { color: tints[i % 2], pattern: { shape: patterns[i % 2], fillmode: "overlay", size: 6, solidity: 0.25, fgcolor: colour.paper, fgopacity: 1 } }, hovertemplate: "%{y}: %{x:.0%}<extra>%{fullData.name}</extra>",
  }));
  return { traces, layout: layout(colour, { barmode: "group", showlegend: true, xaxis: axis("share of what single parameters explain", colour, { tickformat: ".0%" }), yaxis: { automargin: true } }) };
});
if ($("importance-text")) {
  const sentences = Object.entries(decided).map(([objective, shares]) => {
    const [name, share] = Object.entries(shares)[0] ?? [];
    return name ? `${capital(objective === data.quality_key ? data.quality_words : data.steps_words)} depends most on ${name} (${(100 * share).toFixed(0)} % of what single parameters explain).` : "";
  });
  $("importance-text").textContent = [data.importance.note + ".", ...sentences].join(" ");
}

const slices = $("slice-parameter");
if (slices) {
  for (const param of data.params) slices.append(element("option", { value: param.name, text: param.name }));
  const [best] = Object.keys(decided[data.quality_key] ?? {});
  if (best) slices.value = best;
  slices.addEventListener("change", redraw);
}
chart("slice", (colour) => {
  const param = data.params.find((one) => one.name === slices.value);
  const has = sampled.filter((trial) => trial.params[param.name] !== undefined);
  const side = (which, name, symbol, tint, yaxis) => ({
    type: "scatter", mode: "markers", name, yaxis, x: has.map((t) => t.params[param.name]), y: has.map((t) => at(t)[which]),
    customdata: has.map((t) => t.n), text: has.map(hover), hoverinfo: "text",
    marker: { symbol, size: has.map((t) => (t.n === shown ? 14 : 7)), color: tint, opacity: has.map((t) => (t.n === shown ? 1 : 0.6)), line: { width: has.map((t) => (t.n === shown ? 2 : 0)), color: colour.ink } },
  });
  $("slice-text").textContent = `${has.length} sampled trials by ${param.name}: ${data.quality_words} above, ${data.steps_words} below. The best of them has ${has.length ? number([...has].sort((a, b) => at(b)[1] - at(a)[1])[0].params[param.name]) : "none"}.`;
  return {
    traces: [side(1, data.quality_label, "circle", colour.blue, "y"), side(0, data.steps_words, "diamond", colour.orange, "y2")],
    layout: layout(colour, {
      showlegend: false, grid: { rows: 2, columns: 1, subplots: [["xy"], ["xy2"]] },
      xaxis: axis(plain(param.name), colour, { type: param.choices ? "category" : param.log ? "log" : "linear", anchor: "y2" }),
      yaxis: axis(data.quality_unit || data.quality_words, colour, { domain: [0.54, 1] }), yaxis2: axis(data.steps_key.startsWith("steps") ? "steps" : data.steps_label, colour, { domain: [0, 0.46], anchor: "x" }),
    }),
  };
});

for (const [id, x, title] of [["over-trials", "trials", "trials that ended"], ["over-hours", "hours", "hours of training, all workers together"]]) {
  chart(id, (colour) => ({
    traces: [{ type: "scatter", mode: "lines+markers", x: data.history[x], y: data.history.hypervolume, line: { shape: "hv", color: colour.blue, width: 2 }, marker: { size: data.history.trials.length > 60 ? 1 : 5 }, hovertemplate: "%{y:.4g} after %{x}<extra></extra>" }],
    layout: layout(colour, { showlegend: false, xaxis: axis(title, colour, { rangemode: "tozero" }), yaxis: axis(data.history.unit, colour) }),
  }));
}

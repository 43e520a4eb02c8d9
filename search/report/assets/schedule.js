// The trial that is shown: parameters, staircase beside the presets, curves, best so far.
const reference = data.plain === null ? null : byNumber.get(data.plain);
const presets = data.trials.filter((trial) => trial.candidate && trial.n !== data.plain);
const dashes = ["dash", "dot", "dashdot", "longdash", "longdashdot"];
let extent = "ramp", height = "top";

const unpack = (values) => values.map((value) => (value === null ? null : value / 100));
const line = (x, y, name, colour, more = {}) => ({
  type: "scatter", mode: "lines", x, y, name: plain(name), line: { color: colour, width: 2, ...more.line },
  hovertemplate: `%{y:.2f} at %{x}<extra>${plain(name)}</extra>`, ...Object.fromEntries(Object.entries(more).filter(([key]) => key !== "line")),
});

whenShown((trial) => {
  const place = $("parameters");
  if (!place) return;
  const rows = [
    [data.quality_words, trial.words.psnr && `${trial.words.psnr} ${data.quality_unit}`.trim()],
    [data.steps_words, trial.words.steps],
    ["replicates", `${trial.replicates} of ${data.replicates}`],
    ["state", (trial.words.raced ?? trial.state) + (trial.failure ? `: ${trial.failure}` : "") + (trial.infeasible ? `, ${trial.infeasible}` : "")],
    ["verdict", trial.verdict ?? "not verified"],
    ["learning rate", number(trial.learning_rate)],
    ["against others", trial.relation ?? ""],
    ...shortParameters(trial).filter(([name]) => name !== "learning_rate"),
  ];
  place.replaceChildren(...rows.filter(([, words]) => words).map(([name, words]) =>
    element("div", {}, element("dt", { text: name }), element("dd", { text: words }))));
  const levels = trial.stages.map((stage) => stage[1]);
  const plot = (what) => `did not fit into this report: dipsearch plot RUN ${what} --trials ${trial.n} --output FILE draws`;
  const noCurves = `The curves of ${trial.name} ${trial.left_out ? `${plot("curves")} them` : "cannot be read"}.`;
  $("staircase-text").textContent = trial.left_out ? `The staircase of ${trial.name} ${plot("schedules")} it.`
    : trial.count === null ? `${trial.name} has no schedule.`
    : trial.count === 1 ? `${trial.name} is plain DIP: its target is the observation in every iteration.`
    : `${trial.name}: ${trial.count} stages. alpha_bar, the share of the signal that is left in a target, begins at ${number(levels[0])} and reaches 1, the observation itself, after a ramp of ${trial.ramp} iterations.`;
  const beside = reference && reference.n !== trial.n ? ` The dashed curve is plain DIP (${reference.name}).` : "";
  $("curves-text").textContent = trial.curve
    ? `${trial.name}: mean PSNR_GT over ${trial.replicates} replicates, raw and smoothed, up to the end of the shortest. Dots are the maxima of single replicates, the star is the maximum of the mean curve, and grey lines mark the beginnings of stages.${beside}`
    : noCurves;
  $("attainment-text").textContent = trial.curve
    ? `Best ${data.output} PSNR_GT by each iteration, as a mean over replicates. The envelope is the highest of these curves over all complete trials that violate no constraint.`
    : noCurves;
});

// The schedule file of the trial that is shown, and a command for each of its replicates.
whenShown((trial) => {
  const place = $("repeat"), missing = $("no-repeat");
  if (!place) return;
  const found = data.repeats[trial.n];
  place.hidden = !found;
  missing.hidden = Boolean(found);
  missing.textContent = data.unrepeatable || (trial.replicates
    ? `The schedule file of ${trial.name} did not fit into this report: dipsearch export --pick ${trial.n} writes it.`
    : `${trial.name} has finished no replicate that could be repeated.`);
  if (!found) return;
  $("repeat-file").textContent = `Save ${found.name}`;
  $("repeat-file").download = found.name;
  $("repeat-file").href = "data:application/yaml;charset=utf-8," + encodeURIComponent(found.text);
  $("repeat-lines").textContent = Object.values(found.lines).join("\n");
  $("repeat-scores").textContent = Object.entries(found.scores).map(([key, score]) => `${key}: ${score}`).join("\n");
  $("repeat-text").textContent = found.text;
});

chart("staircase", (colour) => {
  const trial = byNumber.get(shown);
  const stairs = (one) => {
    const steps = one.stages;
    if (!steps.length) return [[], []];
    return [[...steps.map((s) => s[0]), data.budget], [...steps.map((s) => s[1]), 1]];
  };
  const traces = presets.slice(0, 8).filter((one) => one.n !== shown).map((one, i) => {
    const [x, y] = stairs(one);
    return line(x, y, one.name, colour.orange, { line: { shape: "hv", width: 1.3, dash: dashes[i % dashes.length] } });
  });
  const [x, y] = stairs(trial);
  traces.push(line(x, y, trial.name, colour.blue, { line: { shape: "hv", width: 2.5 } }));
  const end = extent === "ramp" ? Math.min(data.budget, Math.max(1.6 * (trial.ramp ?? 0), 20)) : data.budget;
  return {
    traces,
    layout: layout(colour, { showlegend: true, xaxis: axis("iterations", colour, { range: [0, end] }), yaxis: axis("alpha_bar", colour, { range: [-0.03, 1.05] }) }),
  };
});
choice("extent", (value) => { extent = value; });
choice("height", (value) => { height = value; });

// Buttons of which one is pressed.
function choice(name, chosen) {
  const buttons = document.querySelectorAll(`[data-${name}]`);
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      chosen(button.dataset[name]);
      redraw();
    });
  }
}

// The last decibels below the highest point, where schedules differ.
function near(traces) {
  const values = traces.flatMap((trace) => trace.y).filter((value) => value !== null);
  if (height === "whole" || !values.length) return {};
  const high = Math.max(...values);
  return { range: [Math.max(Math.min(...values), high - 6), high + 0.4] };
}

function top(x, y) {
  let best = 0;
  y.forEach((value, i) => { if (value !== null && (y[best] === null || value > y[best])) best = i; });
  return [x[best], y[best]];
}

chart("curves", (colour) => {
  const trial = byNumber.get(shown);
  const traces = [];
  const add = (one, tint, dash, width) => {
    if (!one?.curve) return;
    for (const [output, style] of [["raw", dash], ["smoothed", "dot"]]) {
      const y = unpack(one.curve[output]);
      traces.push(line(one.curve.x, y, `${one.name}, ${output}`, tint, { line: { dash: style, width: output === data.output ? width : 1.2 } }));
      if (output === data.output) {
        const [x, best] = top(one.curve.x, y);
        traces.push({ type: "scatter", mode: "markers", x: [x], y: [best], showlegend: false, marker: { symbol: "star", size: 13, color: tint, line: { width: 1, color: colour.paper } }, hovertemplate: `maximum of the mean: %{y:.2f} dB at %{x}<extra>${plain(one.name)}</extra>` });
        traces.push({ type: "scatter", mode: "markers", x: one.maxima.map((m) => m[0]), y: one.maxima.map((m) => m[1]), showlegend: false, marker: { symbol: "circle", size: 5, color: tint, opacity: 0.6 }, hovertemplate: `a replicate: %{y:.2f} dB at %{x}<extra>${plain(one.name)}</extra>` });
      }
    }
  };
  if (reference && reference.n !== shown) add(reference, colour.orange, "dash", 1.8);
  add(trial, colour.blue, "solid", 2.2);
  const shapes = (trial.curve ? trial.switches : []).map((x) => ({ type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, line: { color: colour.faint, width: 1 }, layer: "below" }));
  return { traces, layout: layout(colour, { shapes, xaxis: axis("iterations", colour), yaxis: axis("PSNR_GT (dB)", colour, near(traces)), showlegend: true }) };
});

chart("attainment", (colour) => {
  const trial = byNumber.get(shown);
  const traces = [];
  if (data.envelope) traces.push(line(data.envelope.x, unpack(data.envelope.attained), "envelope", colour.faint, { line: { width: 7 } }));
  const add = (one, tint, more) => { if (one?.curve) traces.push(line(one.curve.xa ?? one.curve.x, unpack(one.curve.attained), one.name, tint, { line: more })); };
  if (reference && reference.n !== shown) add(reference, colour.orange, { dash: "dash", width: 1.6 });
  presets.slice(0, 4).filter((one) => one.n !== shown).forEach((one, i) => add(one, colour.orange, { dash: dashes[(i + 1) % dashes.length], width: 1.1 }));
  add(trial, colour.blue, { width: 2.4 });
  return { traces, layout: layout(colour, { showlegend: true, xaxis: axis("iterations", colour), yaxis: axis("best PSNR_GT so far (dB)", colour, near(traces)) }) };
});

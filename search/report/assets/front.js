// Steps to max against max PSNR_GT. Kinds differ by shape, filling and colour.
const onFront = new Set(data.front);
const placed = data.trials.filter((trial) => at(trial) !== null);
const unplaced = data.trials.filter((trial) => at(trial) === null);

// Where a trial stands: its objectives, a prediction, or the mean of what it finished.
function at(trial) {
  const psnr = trial.psnr ?? trial.psnr_mean ?? null;
  const steps = trial.steps ?? trial.steps_mean ?? null;
  return psnr === null || steps === null ? null : [steps, psnr];
}

function hover(trial) {
  const lines = [
    `<b>${plain(trial.name)}</b>${trial.n === data.knee ? ", the knee" : ""}`,
    trial.infeasible ?? "",
    trial.state === "complete" ? "" : trial.state + (trial.state === "raced" ? ": predicted" : `, ${trial.replicates} of ${data.replicates} replicates`),
    `${plain(trial.words.psnr)} ${plain(data.quality_unit || data.quality_words)}`,
    `${plain(trial.words.steps)} ${plain(data.steps_words)}`,
    trial.verdict ? `verdict: ${plain(trial.verdict)}` : "",
    ...shortParameters(trial).map(([name, value]) => `${plain(name)} ${plain(value)}`),
  ];
  return lines.filter(Boolean).join("<br>");
}

// Names and values as words; the many weights of a free split are counted.
function shortParameters(trial) {
  const words = Object.entries(trial.params).map(([name, value]) => [name, number(value)]);
  const sampledStages = words.find(([name]) => name === "stages");
  if (sampledStages && trial.count !== null && sampledStages[1] !== String(trial.count)) sampledStages[1] = `${trial.count} (of ${sampledStages[1]}, the others got no iteration)`;
  if (!sampledStages && trial.count !== null) words.unshift(["stages", String(trial.count)]);
  if (!("ramp" in trial.params) && trial.ramp !== null) words.push(["ramp", String(trial.ramp)]);
  if (trial.weights) words.push(["weights", String(trial.weights)]);
  return words;
}

function points(trials, name, marker, more = {}) {
  return {
    type: "scatter", mode: "markers", name, hoverinfo: "text", marker,
    x: trials.map((trial) => at(trial)[0]), y: trials.map((trial) => at(trial)[1]),
    customdata: trials.map((trial) => trial.n), text: trials.map(hover), ...more,
  };
}

let spreads = true;
const faded = (colour) => colour + "66";
function bars(trials, colour) {
  const style = { type: "data", color: colour, thickness: 1, width: 0, visible: true };
  return {
    error_x: { ...style, array: trials.map((trial) => trial.steps_bar ?? 0) },
    error_y: { ...style, array: trials.map((trial) => trial.psnr_bar ?? 0) },
  };
}

chart("front", (colour) => {
  const is = (state) => placed.filter((trial) => trial.state === state);
  const complete = is("complete");
  const infeasible = complete.filter((trial) => !trial.candidate && trial.infeasible);
  const dominated = complete.filter((trial) => !trial.candidate && !trial.infeasible && !onFront.has(trial.n));
  const front = complete.filter((trial) => !trial.candidate && onFront.has(trial.n));
  const candidates = complete.filter((trial) => trial.candidate && !trial.infeasible);
  const violating = complete.filter((trial) => trial.candidate && trial.infeasible);
  const stairs = data.front.map((n) => byNumber.get(n));
  const chosen = placed.filter((trial) => trial.n === shown);
  const knee = placed.filter((trial) => trial.n === data.knee);
  const outline = (width, line) => ({ width, color: line });
  const traces = [
    { type: "scatter", mode: "lines", name: "front", x: stairs.map((t) => at(t)[0]), y: stairs.map((t) => at(t)[1]), line: { shape: "hv", color: colour.blue, width: 1.5 }, hoverinfo: "skip", showlegend: false },
    points(is("raced"), "raced (predicted)", { symbol: "x-thin", size: 8, color: colour.grey, line: outline(1.5, colour.grey) }),
    points(is("failed"), "failed", { symbol: "triangle-down", size: 10, color: colour.purple }),
    points([...is("running"), ...is("unfinished")], is("running").length ? "running" : "unfinished", { symbol: "star-triangle-up-open", size: 10, color: colour.green, line: outline(1.5, colour.green) }),
    points(infeasible, "sampled, infeasible", { symbol: "triangle-down-open", size: 8, color: colour.grey, line: outline(1.2, colour.grey) }),
    points(dominated, `sampled, ${data.other_words}`, { symbol: "circle-open", size: 8, color: colour.grey, line: outline(1.2, colour.grey) }),
    points(front, `sampled, ${data.member_words}`, { symbol: "circle", size: 10, color: colour.blue, line: outline(1, colour.paper) }, spreads ? bars(front, faded(colour.blue)) : {}),
    points(violating, "candidates, infeasible", { symbol: "triangle-down-open", size: 11, color: colour.orange, line: outline(1.5, colour.orange) }, spreads ? bars(violating, faded(colour.orange)) : {}),
    points(candidates, "candidates", { symbol: "diamond", size: 11, color: colour.orange, line: outline(1, colour.paper) }, spreads ? bars(candidates, faded(colour.orange)) : {}),
    points(chosen, "shown below", { symbol: "square-open", size: 19, color: colour.ink, line: outline(2, colour.ink) }, spreads ? bars(chosen, colour.ink) : {}),
    points(knee, "knee", { symbol: "circle-open", size: 26, color: colour.ink, line: outline(1.2, colour.ink) }, { hoverinfo: "skip" }),
  ].filter((trace) => trace.x.length);
  const named = [...candidates, ...violating, ...front.slice(0, 12)];
  const range = (values) => {
    const low = Math.min(...values), high = Math.max(...values), margin = 0.1 * (high - low || 1);
    return [low - margin, high + margin];
  };
  const across = placed.length ? range(placed.map((t) => at(t)[0])) : [0, 1];
  // Towards the middle, so that the edge cuts no name; above the front there are no points.
  const annotations = named.map((trial) => {
    const isRight = at(trial)[0] > (across[0] + across[1]) / 2;
    return {
      x: at(trial)[0], y: at(trial)[1], text: plain(trial.candidate ? trial.name : String(trial.n)), showarrow: false,
      xanchor: isRight ? "right" : "left", xshift: isRight ? -8 : 8, yshift: onFront.has(trial.n) ? 10 : -10,
      font: { size: 11, color: trial.candidate ? colour.orange : colour.blue },
    };
  });
  return {
    traces,
    layout: layout(colour, {
      // By the points: bars may leave the picture, since pictures differ more than schedules do.
      annotations, xaxis: axis(data.steps_label, colour, placed.length ? { range: across } : {}),
      yaxis: axis(data.quality_label, colour, placed.length ? { range: range(placed.map((t) => at(t)[1])) } : {}),
    }),
  };
});

$("bars")?.addEventListener("click", (event) => {
  spreads = !spreads;
  event.currentTarget.setAttribute("aria-pressed", String(spreads));
  redraw();
});

const along = [...placed].sort((a, b) => at(a)[0] - at(b)[0] || a.n - b.n);
$("front")?.addEventListener("keydown", (event) => {
  const move = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
  if (!move || !along.length) return;
  event.preventDefault();
  const place = along.findIndex((trial) => trial.n === shown);
  show(along[(place + move + along.length) % along.length].n);
});

if (unplaced.length && $("unplaced")) {
  const place = $("unplaced");
  place.hidden = false;
  place.append("Not drawn, because no replicate has finished: ");
  unplaced.slice(0, 20).forEach((trial, i) => {
    place.append(i ? ", " : "", element("button", { type: "button", class: "link", text: trial.name, onclick: () => show(trial.n) }), ` (${trial.state})`);
  });
  if (unplaced.length > 20) place.append(` and ${unplaced.length - 20} more, which the table lists`);
  place.append(".");
}

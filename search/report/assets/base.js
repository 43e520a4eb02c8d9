// What all parts share: the data, elements, colours, charts, and the trial that is shown.
const data = JSON.parse(document.getElementById("data").textContent);
const byNumber = new Map(data.trials.map((trial) => [trial.n, trial]));
const root = document.documentElement;
const $ = (id) => document.getElementById(id);

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") made.textContent = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function number(value, digits) {
  if (value === null || value === undefined) return "";
  if (digits !== undefined) return value.toFixed(digits).replace("-", "−");
  return typeof value === "number" && !Number.isInteger(value) ? String(Number(value.toPrecision(4))) : String(value);
}

const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);
// Plotly reads a little HTML in what it draws: nothing of a name may be taken for it.
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function colours() {
  const style = getComputedStyle(root);
  return Object.fromEntries(data.colours.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
}

function axis(title, colour, more = {}) {
  return {
    title: { text: title, font: { size: 12 }, standoff: 8 }, gridcolor: colour.line, zeroline: false,
    linecolor: colour.line, automargin: true, ...more,
  };
}

function layout(colour, more = {}) {
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: colour.ink },
    margin: { l: 8, r: 12, t: 8, b: 8 }, hovermode: "closest", dragmode: false,
    hoverlabel: { bgcolor: colour.raised, bordercolor: colour.line, font: { color: colour.ink }, align: "left" },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 11 } }, ...more,
  };
}

const charts = [];
const config = { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false };

// build: the colours -> {traces, layout}; a click on a point with a trial's number shows it.
function chart(id, build) {
  const place = $(id);
  if (!place) return;
  const made = { place, build, drawn: false };
  made.draw = () => {
    const { traces, layout: how } = build(colours());
    Plotly.react(place, traces, how, config);
    if (made.drawn) return;
    made.drawn = true;
    place.on("plotly_click", (event) => {
      const found = event.points.map((point) => point.customdata).find((n) => byNumber.has(n));
      if (found !== undefined) show(found);
    });
  };
  charts.push(made);
}

// One after the other, so that the page answers in between; then what is done once.
let waiting = [], busy = false;
const later = [];
function redraw() {
  delete root.dataset.drawn;
  waiting = [...charts];
  if (!busy) setTimeout(step, 0);
  busy = true;
}
function step() {
  try {
    const next = waiting.shift();
    if (next) next.draw();
    else later.shift()?.();
  } finally {
    busy = waiting.length + later.length > 0;
    if (busy) setTimeout(step, 0);
    else root.dataset.drawn = String(shown);
  }
}

let shown = data.chosen ?? (data.trials.length ? data.trials[0].n : null);
const listeners = [];
const whenShown = (listener) => listeners.push(listener);
function show(n) {
  if (!byNumber.has(n)) return;
  shown = n;
  tell();
  redraw();
}
function tell() {
  const trial = byNumber.get(shown);
  if (!trial) return;
  for (const place of document.querySelectorAll("[data-shown]")) place.textContent = trial.name;
  for (const listener of listeners) listener(trial);
}

function themed() {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  for (const button of document.querySelectorAll("[data-theme-choice]")) {
    button.setAttribute("aria-pressed", String((button.dataset.themeChoice === "dark") === dark));
  }
}
for (const button of document.querySelectorAll("[data-theme-choice]")) {
  button.addEventListener("click", () => { root.dataset.theme = button.dataset.themeChoice; themed(); redraw(); });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { themed(); redraw(); });

// All trials: headers sort, fields filter, a name shows its trial.
const words = (trial) => trial.failure ?? shortParameters(trial).filter(([name]) => !["stages", "ramp", "learning_rate"].includes(name)).map((pair) => pair.join(" ")).join(", ");
const score = (trial, text) => (["complete", "raced"].includes(trial.state) ? text : "");
const columns = [
  { title: "schedule", value: (t) => (t.candidate ? t.name : t.n), text: (t) => t.name },
  { title: "state", value: (t) => t.state, text: (t) => [t.words.raced ?? t.state, t.infeasible].filter(Boolean).join(", ") },
  { title: data.quality_label, value: (t) => t.psnr, text: (t) => score(t, t.words.psnr), down: true },
  { title: data.steps_words, value: (t) => t.steps, text: (t) => score(t, t.words.steps) },
  { title: data.output === "raw" ? "smoothed (dB)" : "raw (dB)", value: (t) => t.other_psnr, text: (t) => t.words.other ?? "", down: true },
  { title: data.beside_label, value: (t) => t.beside, text: (t) => t.words.beside ?? "", down: true },
  { title: "stages", value: (t) => t.count, text: (t) => number(t.count) },
  { title: "ramp", value: (t) => t.ramp, text: (t) => number(t.ramp) },
  { title: "learning rate", value: (t) => t.learning_rate, text: (t) => number(t.learning_rate) },
  { title: "training (s)", value: (t) => t.wall_s, text: (t) => t.words.wall_s },
  { title: "verdict", value: (t) => t.verdict, text: (t) => t.verdict ?? "", words: true },
  { title: "parameters, or why it failed", value: words, text: words, words: true },
].filter((column) => column.title !== "verdict" || data.trials.some((trial) => trial.verdict));
const isNumber = (column) => !column.words && !["schedule", "state"].includes(column.title);

let rows = [];
function makeRows() {
  rows = data.trials.map((trial) => {
    const cells = columns.map((column, i) => {
      if (i === 0) return element("th", { scope: "row" }, element("button", { type: "button", class: "link", text: trial.name, onclick: () => show(trial.n) }));
      return element("td", { class: isNumber(column) ? "number" : column.words ? "text" : "", text: column.text(trial) });
    });
    const row = element("tr", { "data-number": trial.n, class: trial.n === shown ? "shown" : "" }, ...cells);
    return { trial, row, search: row.textContent.toLowerCase() };
  });
  $("table").tBodies[0].append(...rows.map((one) => one.row));
  filter();
}

let sorted = { column: null, down: false };
function compare(a, b) {
  const missing = (v) => v === null || v === undefined || v === "";
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  if (typeof a === "number" && typeof b === "number") return sorted.down ? b - a : a - b;
  if (typeof a !== typeof b) return (typeof a === "string" ? -1 : 1) * (sorted.down ? -1 : 1);
  return String(a).localeCompare(String(b)) * (sorted.down ? -1 : 1);
}
function sortBy(column, header) {
  sorted = { column, down: sorted.column === column ? !sorted.down : Boolean(column.down) };
  for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
  rows.sort((a, b) => compare(column.value(a.trial), column.value(b.trial)) || a.trial.n - b.trial.n);
  $("table").tBodies[0].append(...rows.map((one) => one.row));
}

function filter() {
  const text = $("find").value.trim().toLowerCase(), state = $("state").value;
  const least = $("least").value === "" ? null : Number($("least").value), most = $("most").value === "" ? null : Number($("most").value);
  let left = 0;
  for (const { trial, row, search } of rows) {
    const keep = (!text || search.includes(text)) && (!state || trial.state === state)
      && (least === null || (trial.psnr !== null && trial.psnr >= least)) && (most === null || (trial.steps !== null && trial.steps <= most));
    row.hidden = !keep;
    left += keep;
  }
  $("count").textContent = left === rows.length ? `${rows.length} trials` : `${left} of ${rows.length} trials`;
}

if ($("table")) {
  const headers = columns.map((column) => {
    const header = element("th", { scope: "col", class: isNumber(column) ? "number" : "" });
    header.append(element("button", { type: "button", text: column.title, onclick: () => sortBy(column, header) }));
    return header;
  });
  $("table").tHead.append(element("tr", {}, ...headers));
  for (const state of new Set(data.trials.map((trial) => trial.state))) $("state").append(element("option", { value: state, text: state }));
  for (const id of ["find", "state", "least", "most"]) $(id).addEventListener("input", filter);
  later.push(makeRows);
  whenShown((trial) => { for (const one of rows) one.row.classList.toggle("shown", one.trial === trial); });
}

// Ground truth, observation, plain DIP and the trial that is shown; they zoom and move together.
const tiles = $("tiles");
const view = { zoom: 1, x: 0.5, y: 0.5 };
const GAIN = 4;
let drawnTiles = [];

function loaded(source) {
  return new Promise((done) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = () => done(null);
    image.src = source;
  });
}

function pixels(image) {
  const canvas = element("canvas", { width: image.width, height: image.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, image.width, image.height);
}

// Mean absolute difference over the channels, as grey.
function difference(image, other) {
  const a = pixels(image), b = pixels(other);
  const canvas = element("canvas", { width: a.width, height: a.height });
  if (a.width !== b.width || a.height !== b.height) return canvas;
  const made = new ImageData(a.width, a.height);
  for (let i = 0; i < a.data.length; i += 4) {
    const sum = Math.abs(a.data[i] - b.data[i]) + Math.abs(a.data[i + 1] - b.data[i + 1]) + Math.abs(a.data[i + 2] - b.data[i + 2]);
    made.data.fill(Math.min(255, (GAIN * sum) / 3), i, i + 3);
    made.data[i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(made, 0, 0);
  return canvas;
}

function paint() {
  for (const { canvas, source } of drawnTiles) {
    const size = Math.max(1, Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)));
    if (canvas.width !== size) canvas.width = canvas.height = size;
    const context = canvas.getContext("2d");
    const scale = (size / Math.max(source.width, source.height)) * view.zoom;
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, size, size);
    context.drawImage(source, size / 2 - view.x * source.width * scale, size / 2 - view.y * source.height * scale, source.width * scale, source.height * scale);
    canvas.dataset.view = [view.zoom, view.x, view.y].map((v) => v.toFixed(3)).join(" ");
  }
}

function look(zoom, x = view.x, y = view.y) {
  view.zoom = Math.min(32, Math.max(1, zoom));
  const margin = 0.5 / view.zoom;
  view.x = Math.min(1 - margin, Math.max(margin, x));
  view.y = Math.min(1 - margin, Math.max(margin, y));
  $("zoom-reset").textContent = `${number(Number(view.zoom.toFixed(1)))} ×`;
  paint();
}

function handle(canvas) {
  let from = null;
  canvas.addEventListener("pointerdown", (event) => { from = [event.clientX, event.clientY, view.x, view.y]; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (from) look(view.zoom, from[2] - (event.clientX - from[0]) / canvas.clientWidth / view.zoom, from[3] - (event.clientY - from[1]) / canvas.clientWidth / view.zoom);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { from = null; });
  canvas.addEventListener("dblclick", (event) => {
    const box = canvas.getBoundingClientRect();
    look(view.zoom * 2, view.x + ((event.clientX - box.left) / box.width - 0.5) / view.zoom, view.y + ((event.clientY - box.top) / box.height - 0.5) / view.zoom);
  });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== canvas) return;
    event.preventDefault();
    look(view.zoom * (event.deltaY < 0 ? 1.25 : 0.8));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const move = 0.1 / view.zoom;
    const keys = { "+": [1.5, 0, 0], "=": [1.5, 0, 0], "-": [1 / 1.5, 0, 0], ArrowLeft: [1, -move, 0], ArrowRight: [1, move, 0], ArrowUp: [1, 0, -move], ArrowDown: [1, 0, move] };
    const [factor, dx, dy] = keys[event.key] ?? [];
    if (factor === undefined) return;
    event.preventDefault();
    look(view.zoom * factor, view.x + dx, view.y + dy);
  });
}

let turn = 0;
async function showPictures() {
  const group = data.pictures[Number($("picture").value)];
  const trial = byNumber.get(shown);
  if (!group) return;
  const mine = ++turn;
  const own = group.outputs[shown];
  const words = (one) => one?.words ?? "";
  const wanted = [
    ["Ground truth", group.truth, ""],
    ["Observation", group.observation, words(group.observation)],
    [group.plain ? `Plain DIP (${group.plain.name})` : "Plain DIP", group.plain, words(group.plain)],
  ];
  if (trial && !(group.plain && own && group.plain.src === own.src)) wanted.push([trial.name, own, words(own)]);
  const images = await Promise.all(wanted.map(([, one]) => (one ? loaded(one.src) : null)));
  if (mine !== turn) return;
  const mode = $("view").value;
  const base = mode === "truth" ? images[0] : mode === "plain" ? images[2] : null;
  drawnTiles = [];
  const made = wanted.map(([name, , caption], i) => {
    const title = element("p", {}, element("strong", { text: name }), caption ? ` ${caption}` : "");
    const image = images[i];
    if (!image) return element("div", { class: "tile" }, element("p", { class: "missing", text: name === "Ground truth" || name === "Observation" ? "not made again" : "no picture in this report" }), title);
    const label = `${name}, ${group.title}${caption ? `, ${caption}` : ""}${base ? ", " + $("view").selectedOptions[0].textContent : ""}`;
    const canvas = element("canvas", { role: "img", tabindex: "0", "aria-label": label });
    handle(canvas);
    drawnTiles.push({ canvas, source: base ? difference(image, base) : image });
    return element("div", { class: "tile" }, canvas, title);
  });
  tiles.replaceChildren(...made);
  paint();
  tiles.dataset.ready = `${shown} ${mode}`;
}

if (tiles) {
  data.pictures.forEach((group, i) => $("picture").append(element("option", { value: i, text: group.title })));
  for (const id of ["picture", "view"]) $(id).addEventListener("change", showPictures);
  $("zoom-in").addEventListener("click", () => look(view.zoom * 1.5));
  $("zoom-out").addEventListener("click", () => look(view.zoom / 1.5));
  $("zoom-reset").addEventListener("click", () => look(1, 0.5, 0.5));
  whenShown(showPictures);
  new ResizeObserver(paint).observe(tiles);
}

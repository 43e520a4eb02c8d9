// The chooser, and the first drawing.
const chooser = $("trial");
if (chooser) {
  for (const trial of data.trials) {
    chooser.append(element("option", { value: trial.n, text: `${trial.name}: ${trial.words.score || trial.state}` }));
  }
  chooser.addEventListener("change", () => show(Number(chooser.value)));
  const move = (by) => {
    const place = data.trials.findIndex((trial) => trial.n === shown);
    show(data.trials[(place + by + data.trials.length) % data.trials.length].n);
  };
  $("previous").addEventListener("click", () => move(-1));
  $("next").addEventListener("click", () => move(1));
  whenShown((trial) => {
    chooser.value = String(trial.n);
    const about = [trial.n === data.chosen ? "named at the top" : "", onFront.has(trial.n) ? data.member_words : "", trial.candidate ? "candidate" : "", trial.verdict ? `verdict: ${trial.verdict}` : trial.state === "complete" && trial.n !== data.plain ? "not verified" : trial.state === "complete" ? "" : trial.state];
    $("summary").textContent = about.filter(Boolean).join(", ");
  });
}
for (const button of document.querySelectorAll("button[data-trial]")) {
  button.addEventListener("click", () => show(Number(button.dataset.trial)));
}
themed();
tell();
redraw();

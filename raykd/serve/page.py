"""The page at ``/``: a text box, the labels as bars; one file, nothing is loaded from elsewhere."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>raykd</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: #1d232a;
  background: #fff; max-width: 44rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.4rem; margin: 0; } .quiet { color: #59636e; font-size: .9rem; }
textarea { width: 100%; box-sizing: border-box; min-height: 7rem; font: inherit; padding: .6rem .75rem; margin: 1rem 0 .6rem;
  border: 1px solid #9aa3ad; border-radius: 6px; resize: vertical; }
button { font: inherit; font-weight: 600; color: #fff; background: #1f77b4; border: 0; border-radius: 6px;
  padding: .5rem 1.4rem; }
#answer { margin-top: 1.2rem; }
button:disabled { background: #9aa3ad; }
.row { display: grid; grid-template-columns: minmax(6rem, 12rem) 1fr 4.5rem; gap: .75rem; align-items: center;
  margin: .4rem 0; }
.row span:first-child { overflow-wrap: anywhere; }
.row span:last-child { text-align: right; font-variant-numeric: tabular-nums; }
.track { background: #eef1f4; border-radius: 4px; height: 1.1rem; overflow: hidden; }
.bar { background: #1f77b4; height: 100%; border-radius: 4px; } .first .bar { background: #2a9d5c; }
.first { font-weight: 600; } .error { border-left: 5px solid #c8372d; background: #fdf1f0; padding: .5rem 1rem; }
</style>
</head>
<body>
<h1 id="title">raykd</h1>
<p class="quiet" id="model">&nbsp;</p>
<form id="form">
<label for="text" class="quiet">Text (Ctrl+Enter sends it)</label>
<textarea id="text" autofocus required></textarea>
<button id="send">Predict</button>
</form>
<div id="answer" aria-live="polite"></div>
<p class="quiet" id="note">&nbsp;</p>
<script>
"use strict";
const at = id => document.getElementById(id);
let values = false;
fetch("info").then(reply => reply.json()).then(info => {
  values = info.model.task === "regression";
  const labels = info.model.labels, shown = labels.slice(0, 6).join(", ") + (labels.length > 6 ? ", ..." : "");
  at("model").textContent = info.model.task.replace("_", "-") + " model: " + shown +
    "; texts of up to " + info.model.sequence_length + " tokens" + (info.teacher ? "; a teacher answers unsure rows" : "");
});
function show(entries) {
  at("answer").replaceChildren(...entries.slice(0, 20).map((entry, place) => {
    const row = document.createElement("div"), track = document.createElement("div"), bar = document.createElement("div");
    row.className = place || values ? "row" : "row first";
    const name = document.createElement("span"), score = document.createElement("span");
    name.textContent = entry.label;
    score.textContent = values ? entry.score.toFixed(3) : (100 * entry.score).toFixed(1) + "%";
    track.className = "track"; bar.className = "bar";
    bar.style.width = (values ? 0 : 100 * entry.score) + "%";
    track.append(bar); row.append(name, track, score);
    return row;
  }));
}
at("form").addEventListener("submit", async event => {
  event.preventDefault();
  at("send").disabled = true;
  const start = performance.now();
  try {
    const reply = await fetch("predict", {method: "POST", headers: {"Content-Type": "application/json"},
      body: JSON.stringify({inputs: at("text").value})});
    const content = await reply.json(), time = performance.now() - start;
    if (!reply.ok) throw new Error(content.error || reply.statusText);
    show(content[0]);
    const first = content[0][0];
    at("note").textContent = time.toFixed(1) + " ms" + (first.answered_by ? "; answered by the " + first.answered_by : "") +
      (first.truncated ? "; the text was longer than the model reads, a part was cut off" : "");
  } catch (error) {
    const box = document.createElement("p");
    box.className = "error"; box.textContent = error.message;
    at("answer").replaceChildren(box); at("note").textContent = "\\u00a0";
  }
  at("send").disabled = false;
});
at("text").addEventListener("keydown", event => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("form").requestSubmit();
});
</script>
</body>
</html>
"""

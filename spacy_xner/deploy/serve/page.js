// Asks the service and draws its answer. Text from outside becomes text nodes, and never HTML.
"use strict";

const get = (id) => document.getElementById(id);
let answer = null;
let asked = 0;

function make(name, text, attributes = {}) {
  const element = document.createElement(name);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function say(text, isError = false) {
  get("message").textContent = text;
  get("message").classList.toggle("error", isError);
}

const score = (ent) => (ent.score === null ? "–" : ent.score.toFixed(2));

function draw() {
  const lowest = Number(get("threshold").value);
  get("lowest").textContent = lowest.toFixed(2);
  if (answer === null) return;
  // Places are counted in characters of Unicode, and JavaScript counts UTF-16.
  const characters = Array.from(answer.text);
  const shown = answer.ents.filter((ent) => ent.score === null || ent.score >= lowest);
  const marked = get("marked");
  const rows = get("rows");
  marked.replaceChildren();
  rows.replaceChildren();
  marked.setAttribute("dir", answer.direction);
  if (answer.language !== null) marked.setAttribute("lang", answer.language.replaceAll("_", "-"));
  else marked.removeAttribute("lang");
  let end = 0;
  for (const ent of shown) {
    marked.append(characters.slice(end, ent.start).join(""));
    const mark = make("mark", ent.text, { tabindex: "0", "data-label": ent.label });
    mark.append(make("bdi", `${ent.label} ${score(ent)}`, { dir: "ltr" }));
    marked.append(mark);
    end = ent.end;
    const row = make("tr", "");
    row.append(make("td", ent.text, { dir: "auto" }), make("td", ent.label), make("td", score(ent)));
    rows.append(row);
  }
  marked.append(characters.slice(end).join(""));
  const cluster = answer.cluster === null ? "" : `, cluster: ${answer.cluster}`;
  get("facts").textContent = `Language: ${answer.language ?? "not known"}${cluster}`;
  get("result").hidden = false;
  say(`${shown.length} of ${answer.ents.length} entities shown`);
}

async function find() {
  const query = { text: get("text").value };
  const language = get("language").value.trim();
  if (language) query.language = language;
  const number = ++asked;
  say("Asking …");
  try {
    const response = await fetch("entities", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(query),
    });
    const content = await response.json();
    // An answer that a later question has overtaken is not shown.
    if (number !== asked) return;
    if (!response.ok) throw new Error(content.error.message);
    answer = content.results[0];
    draw();
  } catch (error) {
    if (number === asked) say(error.message, true);
  }
}

get("form").addEventListener("submit", (event) => {
  event.preventDefault();
  find();
});
get("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    find();
  }
});
get("threshold").addEventListener("input", draw);

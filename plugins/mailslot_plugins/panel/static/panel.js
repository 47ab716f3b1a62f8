// What the panel does beyond forms and links; without it every page works all the same.
"use strict";

// What only works with this program appears only with it.
function offerCopying(root) {
  for (const button of root.querySelectorAll("[data-copies], [data-prints], [data-reads-into]")) {
    button.hidden = false;
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages that came over plain http have no clipboard.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copies]");
  if (button) {
    await copy(button.dataset.copies);
    button.classList.add("did");
    setTimeout(() => button.classList.remove("did"), 1500);
  }
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-prints]")) {
    window.print();
  }
});

document.addEventListener("change", (event) => {
  const form = event.target.closest("[data-submits-on-change]");
  if (form) {
    form.requestSubmit();
  }
});

// A file whose text becomes the value of a field: data-reads-into="field".
document.addEventListener("change", async (event) => {
  const chosen = event.target.closest("[data-reads-into]");
  if (chosen?.files.length) {
    const octets = await chosen.files[0].arrayBuffer();
    const [first, second] = new Uint8Array(octets);
    const encoding = first === 0xff && second === 0xfe ? "utf-16le" : "utf-8";
    chosen.form.elements[chosen.dataset.readsInto].value = new TextDecoder(encoding).decode(octets);
  }
});

// In a list separated by commas, the last part is completed: data-several.
document.addEventListener("input", (event) => {
  const field = event.target.closest("[data-several]");
  if (field?.list) {
    completeLastPart(field);
    clearTimeout(field.search);
    if (field.list.dataset.search) {
      field.search = setTimeout(searchSuggestions, 300, field);
    }
  }
});

function completeLastPart(field) {
  const before = field.value.slice(0, field.value.lastIndexOf(",") + 1);
  for (const option of field.list.options) {
    option.dataset.value ??= option.value;
    option.value = before ? `${before} ${option.dataset.value}` : option.dataset.value;
  }
}

// A list of suggestions that is searched for: data-search, the path that answers with pairs of a value and its meaning.
async function searchSuggestions(field) {
  const typed = field.value.slice(field.value.lastIndexOf(",") + 1).trim();
  const answer = await fetch(`${field.list.dataset.search}?text=${encodeURIComponent(typed)}`);
  if (!answer.ok || typed !== field.value.slice(field.value.lastIndexOf(",") + 1).trim()) {
    return;
  }
  field.list.querySelectorAll("[data-found]").forEach((option) => option.remove());
  const known = new Set([...field.list.options].map((option) => option.dataset.value));
  for (const [value, meaning] of (await answer.json()).filter(([value]) => !known.has(value))) {
    const option = new Option(meaning, value);
    option.dataset.found = "";
    field.list.append(option);
  }
  completeLastPart(field);
}

// A form with documents takes a while to be sent: data-while-sending, the words of its button meanwhile.
document.addEventListener("submit", (event) => {
  const button = event.target.querySelector("[data-while-sending]");
  if (button) {
    button.disabled = true;
    button.lastElementChild.textContent = button.dataset.whileSending;
  }
});

// Parts of a form that matter only for certain values: data-when="field=value value".
function showWhatMatters() {
  for (const part of document.querySelectorAll("[data-when]")) {
    const [name, values] = part.dataset.when.split("=");
    const field = part.closest("form")?.elements[name];
    part.hidden = field ? !values.split(" ").includes(field.value) : false;
  }
}

// Seconds that run down: data-until, in milliseconds since 1970.
function countDown() {
  for (const clock of document.querySelectorAll("[data-until]")) {
    const left = Math.max(0, Math.ceil((Number(clock.dataset.until) - Date.now()) / 1000));
    clock.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  }
}

// A link to a field opens the part of the form that it is in.
function openTarget() {
  const field = document.getElementById(location.hash.slice(1));
  for (let part = field?.closest("details"); part; part = part.parentElement.closest("details")) {
    part.open = true;
  }
  if (field?.matches("input, select, textarea")) {
    field.focus();
    field.scrollIntoView({ block: "center" });
  }
}

// A choice was made before the scripts had come, or was restored by the browser: what it changes in the form follows.
function followEarlierChoices() {
  for (const field of document.querySelectorAll("select[hx-post]")) {
    const offered = [...field.options].find((option) => option.defaultSelected) ?? field.options[0];
    if (field.value !== offered.value) {
      field.dispatchEvent(new Event("change", { bubbles: true }));
    }
  }
}

// What was entered while other fields for the form were on their way stays entered.
document.addEventListener("htmx:beforeSwap", ({ detail: { target, shouldSwap, requestConfig } }) => {
  const form = target.closest("form");
  if (!form || !shouldSwap) {
    return;
  }
  const sent = requestConfig.formData;
  const entered = [...form.querySelectorAll("select, textarea, input:not([type=checkbox], [type=radio], [type=file])")]
    .filter((field) => sent.has(field.name) && sent.get(field.name) !== field.value)
    .map((field) => [field.name, field.value]);
  const enterAgain = () => {
    for (const [name, value] of entered.filter(([name]) => form.elements[name])) {
      form.elements[name].value = value;
    }
  };
  target.addEventListener("htmx:afterSwap", enterAgain, { once: true });
  // htmx listens to the new fields only then.
  target.addEventListener("htmx:afterSettle", followEarlierChoices, { once: true });
});

// By then htmx listens, which has asked for this event before.
document.addEventListener("DOMContentLoaded", followEarlierChoices);
window.addEventListener("hashchange", openTarget);
document.addEventListener("change", showWhatMatters);
document.addEventListener("htmx:afterSwap", (event) => {
  offerCopying(document);
  showWhatMatters();
  countDown();
});
setInterval(countDown, 1000);
document.documentElement.classList.add("scripted");
offerCopying(document);
showWhatMatters();
countDown();
openTarget();

// What pages do beyond HTML and htmx; all of them can be read without.
"use strict";
// Ticks are kept over the pages of one gallery, for as long as the tab is open, and go along with the form.
const gallery = document.querySelector("[data-gallery]");
const boxes = () => [...document.querySelectorAll("input[name=ids][type=checkbox]")];
const shelf = gallery && `ticked ${gallery.dataset.gallery}`;
const ticked = () => new Set(JSON.parse(sessionStorage.getItem(shelf) || "[]"));
const keep = () => {
  const kept = ticked();
  boxes().forEach((box) => { if (box.checked) kept.add(box.value); else kept.delete(box.value); });
  sessionStorage.setItem(shelf, JSON.stringify([...kept]));
  show(kept);
};
const show = (kept) => {
  const elsewhere = [...kept].filter((value) => !boxes().some((box) => box.value === value)).length;
  const words = kept.size ? `${kept.size} ticked${elsewhere ? `, ${elsewhere} on other pages` : ""}` : "";
  document.querySelector("[data-ticked]").textContent = words;
  document.querySelector("[data-untick]").hidden = !kept.size;
};
if (gallery) {
  const told = new URLSearchParams(location.search).get("notice");
  if (told && sessionStorage.getItem("told") !== told) {
    sessionStorage.removeItem(shelf);
    sessionStorage.setItem("told", told);
  }
  boxes().forEach((box) => { box.checked = ticked().has(box.value); });
  document.querySelector("[data-select]").hidden = false;
  show(ticked());
  let last = null;
  document.addEventListener("click", (event) => {
    const box = event.target.closest("input[name=ids][type=checkbox]");
    if (box) {
      const [from, to] = [boxes().indexOf(last), boxes().indexOf(box)].sort((one, other) => one - other);
      if (event.shiftKey && from >= 0) boxes().slice(from, to + 1).forEach((one) => { one.checked = box.checked; });
      last = box;
      keep();
    } else if (event.target.closest("[data-select]")) {
      const on = boxes().some((one) => !one.checked);
      boxes().forEach((one) => { one.checked = on; });
      keep();
    } else if (event.target.closest("[data-untick]")) {
      boxes().forEach((one) => { one.checked = false; });
      sessionStorage.removeItem(shelf);
      show(new Set());
    }
  });
  gallery.addEventListener("submit", () => {
    const shown = new Set(boxes().map((box) => box.value));
    ticked().forEach((value) => {
      if (shown.has(value)) return;
      const field = Object.assign(document.createElement("input"), { type: "hidden", name: "ids", value });
      gallery.append(field);
    });
  });
}
// Keys, as in photo programs; never while somebody types, nor with Ctrl, Alt or the like.
const zoom = document.querySelector("[data-zoom]");
if (zoom) {
  zoom.hidden = false;
  zoom.addEventListener("click", () => document.querySelector(".whole").classList.toggle("fit"));
}
const cards = () => [...document.querySelectorAll(".gallery li")];
let here = -1;
const go = (step) => {
  const list = cards();
  if (!list.length) return false;
  list.forEach((card) => card.classList.remove("here"));
  here = Math.min(Math.max(here + step, 0), list.length - 1);
  list[here].classList.add("here");
  list[here].querySelector("a").focus();
  return true;
};
const follow = (rel) => { const link = document.querySelector(`a[rel=${rel}]`); if (link) link.click(); };
const help = document.getElementById("keys");
const keys = {
  j: () => (gallery ? go(1) : follow("next")), ArrowRight: () => (gallery ? go(1) : follow("next")),
  k: () => (gallery ? go(-1) : follow("prev")), ArrowLeft: () => (gallery ? go(-1) : follow("prev")),
  x: () => { if (gallery && here >= 0) cards()[here].querySelector("input[name=ids]").click(); },
  n: () => follow("next"), p: () => follow("prev"),
  "?": () => { if (help) help.open ? help.close() : help.showModal(); },
};
// Each image of a gallery has a key of its own that ticks it: scattered ones need no walk past all the others.
const ticking = {};
if (gallery) {
  const free = [..."1234567890abdefghilmoqstvwy"].filter((key) => !keys[key] && !document.querySelector(`[data-key="${key}"]`));
  boxes().slice(0, free.length).forEach((box, at) => {
    ticking[free[at]] = box;
    box.setAttribute("aria-keyshortcuts", free[at]);
    const hint = Object.assign(document.createElement("kbd"), { textContent: free[at], ariaHidden: "true" });
    box.after(hint);
  });
}
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), select, textarea, .whole");
  if (typing || event.ctrlKey || event.altKey || event.metaKey) return;
  const button = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  const box = ticking[event.key];
  if (!button && !keys[event.key] && !box) return;
  event.preventDefault();
  if (event.repeat && (button || box)) return;
  if (button) button.click();
  else if (keys[event.key]) keys[event.key]();
  else {
    box.click();
    box.closest("li").scrollIntoView({ block: "nearest" });
  }
});
document.addEventListener("input", (event) => {
  if (event.target.type !== "range") return;
  const output = document.querySelector(`output[for=${event.target.id}]`);
  if (output) output.textContent = event.target.value;
});
const drop = document.querySelector(".drop");
if (drop) {
  const field = drop.querySelector("input[type=file]");
  const told = drop.querySelector("[data-too-much]");
  const mb = (bytes) => Math.ceil(bytes / 1048576);
  // Told before anything is sent: a server that refuses a hundred megabytes can only close the connection.
  const tooMuch = () => {
    const files = [...field.files], bytes = files.reduce((sum, file) => sum + file.size, 0);
    const [mostFiles, mostBytes] = [Number(drop.dataset.mostFiles), Number(drop.dataset.mostBytes)];
    const said = files.length > mostFiles ? `These are ${files.length} files; at most ${mostFiles} are taken at a time.`
      : bytes > mostBytes ? `These files have ${mb(bytes)} MB together; at most ${mb(mostBytes)} MB are taken at a time.` : "";
    told.textContent = said && `${said} Nothing was sent.`;
    told.hidden = !said;
    return Boolean(said);
  };
  field.addEventListener("change", tooMuch);
  drop.addEventListener("submit", (event) => { if (tooMuch()) event.preventDefault(); });
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    field.files = event.dataTransfer.files;
    drop.requestSubmit();
  });
}
// A range of scores: drag over the bars, or stretch it with Shift and the arrow keys; each bar is a link of its own.
const bars = (one) => [...one.closest(".histogram").querySelectorAll("a")];
const stretch = (bar, other) => {
  const all = bars(bar), [from, to] = [all.indexOf(bar), all.indexOf(other)].sort((one, two) => one - two);
  all.forEach((one, at) => one.classList.toggle("brushed", at >= from && at <= to));
  const words = `${all[from].dataset.low} to ${all[to].dataset.high}`;
  bar.closest(".scores").querySelector("[data-range]").textContent = words;
  return [all[from].dataset.low, all[to].dataset.high];
};
const brush = { start: null, end: null };
const narrow = () => {
  const [low, high] = stretch(brush.start, brush.end);
  const address = new URL(brush.start.closest("[data-scores]").dataset.scores, location);
  address.searchParams.set("low", low);
  address.searchParams.set("high", high);
  location.assign(address);
};
document.addEventListener("pointerdown", (event) => {
  const bar = event.target.closest(".histogram a");
  if (!bar || event.button) return;
  bar.releasePointerCapture(event.pointerId);
  Object.assign(brush, { start: bar, end: bar, isDragged: true });
});
document.addEventListener("pointermove", (event) => {
  const bar = brush.isDragged && document.elementFromPoint(event.clientX, event.clientY)?.closest(".histogram a");
  if (bar) { brush.end = bar; stretch(brush.start, bar); }
});
document.addEventListener("pointercancel", () => { brush.isDragged = false; });
document.addEventListener("pointerup", () => {
  if (brush.isDragged && brush.end !== brush.start) narrow();
  brush.isDragged = false;
});
document.addEventListener("keydown", (event) => {
  const bar = event.target.closest(".histogram a"), step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!bar || event.ctrlKey || event.altKey || event.metaKey) return;
  if (step) {
    const next = bars(bar)[bars(bar).indexOf(bar) + step] || bar;
    if (!event.shiftKey || brush.end !== bar || !bar.isConnected) brush.start = event.shiftKey ? bar : next;
    brush.end = next;
    stretch(brush.start, next);
    next.focus();
  } else if (event.key === "Enter" && brush.end === bar && brush.start !== bar) narrow();
  else return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);
// What somebody opened stays open when a piece of a page comes anew.
const opened = new Set();
document.addEventListener("toggle", ({ target }) => { if (target.id) target.open ? opened.add(target.id) : opened.delete(target.id); }, true);
document.addEventListener("htmx:load", ({ target }) => {
  target.querySelectorAll("details[id]").forEach((one) => { one.open = one.open || opened.has(one.id); });
});
// Who stands on a link of a live page stays there when it comes anew.
let stood = null;
document.addEventListener("htmx:beforeSwap", ({ target }) => {
  const focus = document.activeElement;
  stood = target.contains(focus) && focus.getAttribute("href");
});
document.addEventListener("htmx:afterSwap", () => {
  if (stood) document.querySelector(`[data-live] a[href="${CSS.escape(stood)}"]`)?.focus({ preventScroll: true });
});
// A live page whose server is gone must not look alive: what it shows is from before, and says so.
const lost = (event) => {
  const live = event.target.closest("[data-live]");
  const notice = live && live.querySelector("[data-no-contact]");
  if (!notice || !notice.hidden) return;
  notice.querySelector("span").textContent = new Date().toISOString().slice(11, 19);
  notice.hidden = false;
  live.classList.add("stale");
};
["htmx:sendError", "htmx:responseError", "htmx:timeout"].forEach((name) => document.addEventListener(name, lost));
// Copying needs a secure page or this machine; elsewhere the button stays away and the text can be selected.
const offerCopy = () => {
  if (navigator.clipboard) document.querySelectorAll("[data-copy]").forEach((button) => { button.hidden = false; });
};
document.addEventListener("htmx:load", offerCopy);
offerCopy();
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
  button.textContent = "Copied";
});

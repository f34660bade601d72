// What pages do beyond HTML and htmx; all of them can be read without.
"use strict";
document.addEventListener("click", (event) => {
  const all = event.target.closest("[data-select]");
  if (!all) return;
  const boxes = document.querySelectorAll("input[name=ids]");
  const on = [...boxes].some((box) => !box.checked);
  boxes.forEach((box) => { box.checked = on; });
});
document.querySelectorAll("[data-select]").forEach((button) => { button.hidden = false; });
document.addEventListener("input", (event) => {
  if (event.target.type !== "range") return;
  const output = document.querySelector(`output[for=${event.target.id}]`);
  if (output) output.textContent = Math.round(event.target.value * 10) / 10;
});
const drop = document.querySelector(".drop");
if (drop) {
  const field = drop.querySelector("input[type=file]");
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    field.files = event.dataTransfer.files;
    drop.requestSubmit();
  });
}
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

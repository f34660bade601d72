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
  if (output) output.textContent = event.target.value;
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

// What HTML alone cannot do: keys for buttons, and a word when the device is out of reach.
"use strict";

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (typing || event.ctrlKey || event.altKey || event.metaKey) return;
  const button = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (button) {
    event.preventDefault();
    if (!event.repeat) button.click();
  }
});

const offline = (lost) => {
  document.getElementById("offline").hidden = !lost;
  document.body.classList.toggle("is-offline", lost);
};
// The stream of pictures never ends: begun with the page it would keep the page loading. Another address begins it anew.
const stream = () => {
  for (const picture of document.querySelectorAll("[data-live]")) picture.src = `${picture.dataset.live}?${Date.now()}`;
};
window.addEventListener("load", stream);
// A device without a clock may be told the time that this browser has, at a person's wish.
const tellTime = () => {
  for (const form of document.querySelectorAll("form[data-clock]")) {
    form.elements.browser_ms.value = Date.now();
    form.querySelector("output").textContent = new Date().toLocaleString(document.documentElement.lang);
  }
};
tellTime();
setInterval(tellTime, 1000);
// A part that comes of another program than the page: the device was upgraded in between.
document.addEventListener("htmx:after:swap", () => {
  const parts = [...document.querySelectorAll("main [data-program]")];
  document.getElementById("upgraded").hidden = parts.every((part) => part.dataset.program === document.body.dataset.program);
});
let wasLost = false;
for (const name of ["htmx:sse:error", "htmx:error"]) document.addEventListener(name, () => { wasLost = true; offline(true); });
document.addEventListener("htmx:sse:after:connection", () => {
  offline(false);
  if (wasLost) stream();
  wasLost = false;
});

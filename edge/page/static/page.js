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
let wasLost = false;
for (const name of ["htmx:sse:error", "htmx:error"]) document.addEventListener(name, () => { wasLost = true; offline(true); });
document.addEventListener("htmx:sse:after:connection", () => {
  offline(false);
  // The stream of pictures ended with the connection; another address begins a new one.
  if (wasLost) for (const picture of document.querySelectorAll("[data-live]")) picture.src = `/live/pictures?${Date.now()}`;
  wasLost = false;
});

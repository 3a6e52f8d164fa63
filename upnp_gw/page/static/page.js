// Keeps the live parts of a page up to date. Without it the page is the same, as of when it was loaded.
"use strict";

const url = document.body.dataset.live;
const state = document.getElementById("link-state");
const LOST_MS = 4000;
const RELOAD_AFTER_MS = 10000;
let stream = null;
let lost = 0;

// What has the focus in an element, so that its successor gets it.
function focused(element) {
  const active = document.activeElement;
  if (!element.contains(active)) return null;
  if (active.id) return `#${CSS.escape(active.id)}`;
  const href = active.getAttribute("href");
  return href ? `a[href="${CSS.escape(href)}"]` : null;
}

function patch(id, html) {
  const element = document.getElementById(id);
  if (!element) {
    // a part that the page does not have: a newer program sends it. Not at once again, if loading does not help
    if (performance.now() > RELOAD_AFTER_MS) location.reload();
    return;
  }
  const next = document.createElement("template");
  next.innerHTML = html;
  if (next.innerHTML === element.innerHTML) return;
  const open = new Set([...element.querySelectorAll("details[open]")].map((each) => each.parentElement.querySelector("[id]")?.id));
  for (const details of next.content.querySelectorAll("details")) {
    if (open.has(details.parentElement.querySelector("[id]")?.id)) details.open = true;
  }
  if (next.innerHTML === element.innerHTML) return;
  const selector = focused(element);
  element.replaceChildren(next.content);
  if (selector) element.querySelector(selector)?.focus({ preventScroll: true });
}

function told(text) {
  if (state.textContent !== text) state.textContent = text;
}

function open() {
  if (stream || document.hidden) return;
  stream = new EventSource(url);
  stream.onmessage = (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) patch(id, html);
  };
  stream.onopen = () => {
    clearTimeout(lost);
    told("");
  };
  stream.onerror = () => {
    clearTimeout(lost);
    lost = setTimeout(() => told(state.dataset.lost), LOST_MS);
    if (stream.readyState === EventSource.CLOSED) {
      close();
      setTimeout(open, LOST_MS);
    }
  };
  stream.addEventListener("end", () => location.reload());
}

function close() {
  stream?.close();
  stream = null;
}

if (url) {
  // a browser has six connections for all pages of this host: a hidden page needs none
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
}

"use strict";
// The page works without this: it keeps it up to date by server-sent events, and filters without a new load.
const POLL_MS = 10000, TYPING_MS = 250, PATIENCE_MS = 4000;
const link = document.getElementById("link"), form = document.querySelector("form");
let source = null, timer = 0, patience = 0;

function say(text) {
  if (link.textContent !== text) link.textContent = text;
}

// Puts HTML into an element; a link that had the focus has it again. Of a row only the cells that changed are touched, so
// that focus, selection and a click that has begun stay where they are.
function put(element, html) {
  if (element.matches("tr") && element.cells.length) {
    const fresh = element.cloneNode(false);
    fresh.innerHTML = html;
    [...fresh.cells].forEach((cell, i) => cell.isEqualNode(element.cells[i]) || element.cells[i].replaceWith(cell));
    return;
  }
  const held = element.contains(document.activeElement) && document.activeElement.getAttribute("href");
  element.innerHTML = html;
  if (held) for (const one of element.querySelectorAll("a")) {
    if (one.getAttribute("href") === held) return one.focus({preventScroll: true});
  }
}

function arrange(order) {
  const rows = document.getElementById("rows"), held = document.activeElement;
  const known = new Map([...rows.children].map(row => [row.id, row]));
  rows.replaceChildren(...order.map(id => known.get(id) || Object.assign(document.createElement("tr"), {id})));
  if (rows.contains(held)) held.focus({preventScroll: true});
}

function apply(news) {
  if (news.title !== undefined) document.title = news.title;
  if (news.order && document.getElementById("rows")) arrange(news.order);
  for (const [id, html] of Object.entries(news.parts || {})) {
    const element = document.getElementById(id);
    if (element) put(element, html);
  }
}

function stop() {
  if (source) source.close();
  source = null;
  clearTimeout(timer);
  clearTimeout(patience);
}

function connect() {
  stop();
  if (document.hidden) return;
  source = new EventSource(location.pathname.replace(/\/$/, "") + "/live" + location.search);
  source.onmessage = message => {
    clearTimeout(patience);
    patience = 0;
    say("live");
    apply(JSON.parse(message.data));
  };
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) return poll();
    if (!patience) patience = setTimeout(say, PATIENCE_MS, "No connection to the daemon; trying again.");
  };
}

// Where there are too many streams: the whole page every ten seconds, and then the stream again.
async function poll() {
  stop();
  timer = setTimeout(connect, POLL_MS);
  try {
    const answer = await fetch(location.href);
    if (answer.status === 404) return location.reload();
    if (!answer.ok) throw answer.status;
    const there = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.title = there.title;
    for (const part of document.querySelectorAll("[data-part], #rows")) {
      put(part, there.getElementById(part.id).innerHTML);
    }
    say("Updated every ten seconds: too many pages are open for more.");
  } catch {
    say("No connection to the daemon; trying again.");
  }
}

// Shows another selection of the devices, under an address that a new load gives as well.
function show(search) {
  history.replaceState(null, "", "/" + search);
  connect();
}

function choose() {
  const asked = new URLSearchParams(location.search);
  for (const name of ["q", "sort"]) {
    asked.delete(name);
    if (form.elements[name].value) asked.set(name, form.elements[name].value);
  }
  asked.delete("page");
  show("?" + asked);
}

if (form) {
  let typing = 0;
  form.elements.q.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(choose, TYPING_MS); });
  form.elements.sort.addEventListener("change", choose);
  form.addEventListener("submit", event => { event.preventDefault(); choose(); });
  document.addEventListener("click", event => {
    const asked = event.target.closest("a[data-view]");
    if (!asked || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    show(asked.search);
    if (asked.closest("#pager")) document.getElementById("devices").scrollIntoView();
  });
}
document.addEventListener("visibilitychange", connect);
addEventListener("pagehide", stop);
addEventListener("pageshow", connect);

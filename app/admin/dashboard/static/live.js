// Keeps an open page up to date. Without it a page is as complete as when it was loaded.
const page = document.body.dataset.live;
let version = null;
const rates = [];

function show(message) {
  for (const [name, text] of Object.entries(message.texts ?? {})) {
    for (const element of document.querySelectorAll(`[data-text="${CSS.escape(name)}"]`)) {
      if (element.textContent !== text) element.textContent = text;
    }
  }
  for (const [name, state] of Object.entries(message.states ?? {})) {
    for (const element of document.querySelectorAll(`[data-state-of="${CSS.escape(name)}"]`)) {
      element.dataset.state = state;
    }
  }
  if ("spark" in message) spark(message.spark);
  if (version !== null && version !== message.version) refresh();
  version = message.version;
}

function spark(rate) {
  const line = document.querySelector("[data-spark]");
  rates.push(rate);
  if (rates.length > 60) rates.shift();
  if (!line) return;
  const most = Math.max(1, ...rates);
  line.setAttribute("points", rates.map((each, index) =>
    `${(300 - (rates.length - 1 - index) * 5).toFixed(1)},${(56 - 52 * each / most).toFixed(1)}`).join(" "));
}

// Something has changed that is more than a number: read the page anew and exchange its parts, not the fields that
// somebody may be writing in.
let reading = false;
let again = false;
async function refresh() {
  if (reading) { again = true; return; }
  reading = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-part]")) {
      const other = fresh.querySelector(`[data-part="${CSS.escape(part.dataset.part)}"]`);
      if (other && other.innerHTML !== part.innerHTML) {
        const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
        part.replaceChildren(...other.childNodes);
        if (focused) part.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
      }
    }
  } finally {
    reading = false;
    if (again) { again = false; refresh(); }
  }
}

if (page) {
  const source = new EventSource(`/dashboard/live/events?page=${encodeURIComponent(page)}`);
  source.onmessage = (event) => {
    document.body.dataset.connected = "yes";
    show(JSON.parse(event.data));
  };
  source.onerror = () => { document.body.dataset.connected = "no"; };
}

// What the pages do by themselves: hear what has changed, say when they do not, show times in the reader's zone,
// answer to keys, draw the curve. Nothing here makes HTML of text.
"use strict";
(() => {
  const body = document.body;
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Times: each has its own zone in its attribute; it is shown in the reader's, with the zone's name.
  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  const short = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
  const localise = (within) => {
    for (const time of all("time[datetime]:not([data-local])", within)) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.valueOf())) continue;
      const isToday = at.toDateString() === new Date().toDateString();
      time.textContent = (time.dataset.show === "time" && isToday ? short : full).format(at);
      time.dataset.local = "";
    }
  };
  localise(document);
  body.addEventListener("htmx:afterSwap", () => { localise(document); afterSwap(); });

  // The stream: one connection, closed while nobody looks, opened again with patience.
  const pulse = one("#pulse"), stale = one("#stale");
  const FIRST_MS = 1000, LONGEST_MS = 30000, STALE_MS = 7000, LOG_S = 15;
  let source = null, heardAt = Date.now(), beat = null, waitMs = FIRST_MS, timer = 0;
  const trigger = (part) => body.dispatchEvent(new CustomEvent(`${part}-changed`));
  const close = () => { if (source) source.close(); source = null; };
  const open = () => {
    close();
    source = new EventSource(body.dataset.stream);
    source.addEventListener("changed", (event) => { heardAt = Date.now(); event.data.split(" ").forEach(trigger); });
    source.addEventListener("beat", (event) => {
      const again = waitMs > FIRST_MS;
      heardAt = Date.now(); waitMs = FIRST_MS; beat = JSON.parse(event.data);
      if (again) ["wall", "scores", "queue", "verdicts", "media"].forEach(trigger);
      tellPulse();
    });
    source.onerror = () => {
      close();
      window.clearTimeout(timer);
      timer = window.setTimeout(open, waitMs);
      waitMs = Math.min(2 * waitMs, LONGEST_MS);
      // Whose session has ended is asked to log in, and not left with an old page.
      fetch(`${body.dataset.base}/api/v1/myself`).then((answer) => { if (answer.status === 401) window.location.reload(); }, () => {});
    };
  };
  const tellPulse = () => {
    const silent = Date.now() - heardAt;
    let text = "";
    if (silent > STALE_MS) text = `This page has not heard from the console for ${Math.round(silent / 1000)} s. What it shows may be old.`;
    else if (beat && beat.trouble) text = `Not all is well: ${beat.trouble}.`;
    else if (beat && Math.max(beat.log_s, beat.reader_s) > LOG_S) text = `The console has not heard from the log for ${Math.round(Math.max(beat.log_s, beat.reader_s))} s. What is shown may be old.`;
    stale.hidden = !text;
    if (stale.textContent !== text) stale.textContent = text;
    pulse.dataset.pulse = text ? "stale" : beat ? "live" : "waiting";
    one(".pulse-text", pulse).textContent = text ? "not live" : beat ? "live" : "connecting";
  };
  if (body.dataset.stream && pulse) {
    open();
    window.setInterval(tellPulse, 1000);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) { close(); window.clearTimeout(timer); return; }
      heardAt = Date.now(); waitMs = FIRST_MS + 1; open();
    });
    window.addEventListener("pagehide", close);
  }

  // On a small screen what is asked for comes before how to ask for it.
  const filters = one("#filters");
  if (filters && window.matchMedia("(max-width: 44rem)").matches) filters.open = false;

  // News in the queue is offered, not forced on who is reading it.
  const waiting = one("#waiting");
  if (waiting) {
    waiting.addEventListener("htmx:beforeSwap", (event) => {
      if (all(".item.gone").length) event.detail.shouldSwap = false;
    });
  }

  // Many events at once.
  const boxes = () => all("input[name=ids][type=checkbox]");
  const tellChosen = () => {
    const number = boxes().filter((box) => box.checked).length, told = one("#chosen");
    if (told) told.textContent = number ? `${number} chosen` : "none chosen";
    const whole = one("#choose-all");
    if (whole) whole.checked = number > 0 && number === boxes().length;
  };
  body.addEventListener("change", (event) => {
    if (event.target.id === "choose-all") boxes().forEach((box) => { box.checked = event.target.checked; });
    if (event.target.id === "choose-all" || event.target.name === "ids") tellChosen();
    if (event.target.id === "keys-on") localStorage.setItem("keys", event.target.checked ? "on" : "off");
  });
  const afterSwap = () => {
    const done = one("[data-done]");
    if (!done || done.dataset.used) return;
    done.dataset.used = "yes";
    for (const id of done.dataset.ids.split(" ")) {
      const item = all(".item").find((each) => each.dataset.event === id);
      if (!item) continue;
      item.classList.toggle("gone", done.dataset.done === "skip");
      const box = one("input[name=ids]", item);
      if (box) box.checked = false;
      const said = one(".item-said", item);
      if (said) { said.textContent = done.dataset.done === "skip" ? "seen" : ""; said.classList.toggle("said", done.dataset.done === "skip"); }
    }
    tellChosen();
  };

  // Keys; single letters can be switched off, and never act where somebody types.
  const dialog = one("#keys"), switched = one("#keys-on");
  if (switched) switched.checked = localStorage.getItem("keys") !== "off";
  let at = -1, isGoing = false;
  const move = (step) => {
    const items = all(".item");
    if (!items.length) return false;
    at = Math.min(items.length - 1, Math.max(0, at + step));
    items.forEach((item, index) => item.classList.toggle("at", index === at));
    const link = one(".item-link", items[at]);
    link.focus({ preventScroll: true });
    items[at].scrollIntoView({ block: "nearest" });
    return true;
  };
  const press = (key) => {
    const target = one(`#notice [data-act="${key}"]`) || one(`[data-act="${key}"]`);
    if (!target) return false;
    target.click();
    return true;
  };
  document.addEventListener("focusin", (event) => {
    const item = event.target.closest(".item");
    if (item) at = all(".item").indexOf(item);
  });
  const go = (key) => {
    const link = one(`.top nav a[data-key="${key}"]`);
    if (link) link.click();
    return Boolean(link);
  };
  const choose = () => {
    const item = all(".item")[at], box = item && one("input[name=ids]", item);
    if (box) box.click();
    return Boolean(box);
  };
  // To teach a memory takes two keys: one to get there, one to say it.
  const reach = (selector) => {
    const target = one(selector);
    if (target) target.focus();
    return Boolean(target);
  };
  const acts = { n: () => reach("#say-normal"), j: () => move(1) || press("j"), k: () => move(-1), x: choose };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const typing = event.target.matches("input:not([type=checkbox]):not([type=radio]), select, textarea");
    if (typing || (dialog && dialog.open)) return;
    if (event.key === "?" && dialog) { dialog.showModal(); event.preventDefault(); return; }
    if (!switched || !switched.checked) return;
    const key = event.key.toLowerCase();
    if (isGoing) { isGoing = false; if (go(key)) event.preventDefault(); return; }
    if (key === "g") { isGoing = true; return; }
    const act = acts[key] || (["s", "r", "u", "h"].includes(key) ? () => press(key) : null);
    if (act && act()) event.preventDefault();
  });

  // The curve of an event.
  const curve = one("#curve");
  const draw = () => {
    if (!curve || !window.uPlot) return;
    const data = JSON.parse(curve.dataset.curve);
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const level = (value) => data.seconds.map(() => value);
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    const number = (_, value) => value == null ? "" : value.toFixed(2);
    curve.replaceChildren();
    new uPlot({
      width: curve.clientWidth, height: 210, cursor: { drag: { x: false, y: false } },
      scales: { x: { time: false }, y: { range: [0, 1] } },
      axes: [{ ...axis, values: (_, ticks) => ticks.map((tick) => `${tick} s`) }, { ...axis, size: 44 }],
      series: [
        { label: "time", value: (_, value) => value == null ? "" : `${value.toFixed(1)} s` },
        { label: "score", value: number, stroke: colour("--accent"), width: 2.5, points: { show: data.seconds.length < 3, size: 7 } },
        { label: "opens above (dashed)", value: number, stroke: colour("--ink"), width: 1, dash: [6, 4], points: { show: false } },
        { label: "closes below (dotted)", value: number, stroke: colour("--quiet"), width: 1, dash: [2, 4], points: { show: false } },
      ],
    }, [data.seconds, data.scores, level(data.enter), level(data.exit)], curve);
  };
  draw();
  if (curve) {
    let width = curve.clientWidth;
    window.addEventListener("resize", () => { if (curve.clientWidth !== width) { width = curve.clientWidth; draw(); } });
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }
})();

"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const make = (name, kind, words) => {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (words !== undefined) made.textContent = words;
    return made;
  };
  const count = (n) => n.toLocaleString("en-US");
  const say = (words) => { at("said").textContent = words; };

  // Tables are copied as CSV. A text that a spreadsheet would take for a formula is quoted.
  const csvCell = (cell) => {
    if (cell.dataset.value !== undefined) return cell.dataset.value;
    let text = cell.textContent;
    if (/^[=+\-@\t\r]/.test(text)) text = "'" + text;
    return /[",\n\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  };
  const csvOf = (table) =>
    [...table.rows].map((row) => [...row.cells].map(csvCell).join(",")).join("\n") + "\n";
  const copy = async (text) => {
    try { await navigator.clipboard.writeText(text); return; } catch { /* an older way follows */ }
    const box = make("textarea");
    box.value = text;
    document.body.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
  };
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.parentElement.hidden = false;
    button.addEventListener("click", async () => {
      await copy(csvOf(button.closest("details").querySelector("table")));
      button.textContent = "Copied";
      say("Copied");
      setTimeout(() => { button.textContent = "Copy as CSV"; }, 1500);
    });
  }

  const holder = at("data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  for (const one of document.querySelectorAll(".scripted")) one.hidden = false;
  const SVG = "http://www.w3.org/2000/svg";
  const draw = (parent, name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    parent.append(made);
    return made;
  };
  const label = (parent, x, y, words, anchor) => {
    draw(parent, "text", { x, y, class: "tick", "text-anchor": anchor }).textContent = words;
  };

  // What is browsed: rows of a run, or answers of a model.
  const rows = {
    search: (row) => [row.id, row.place, row.source, ...(row.turns ?? []).map((turn) => turn[1])],
    what: (row) => (row.taken ? "chosen" : "not chosen"),
    first: (row) => (row.turns ? row.turns.find((turn) => turn[0] !== "system")?.[1] ?? "" : row.place),
    about: (row) => [row.source ?? "", row.cluster === null ? "" : "cluster " + row.cluster, row.place]
      .filter(Boolean).join(" · "),
    tests: {
      taken: (row, value) => row.taken === Number(value),
      source: (row, value) => row.source === data.sources[Number(value)],
      cluster: (row, value) => row.cluster === Number(value),
      call: (row, value) => data.calls[value].includes(row.number),
    },
    show: (row, box) => {
      const why = make("p");
      why.append(make("span", "verdict" + (row.taken ? " yes" : ""), row.taken ? "Chosen. " : "Not chosen. "));
      why.append(whyOf(row));
      box.append(why);
      if (row.losses) curve(row, box);
      if (row.turns) turns(row.turns, box);
      else box.append(make("p", "soft", "The text of this row is not in the page."));
    },
  };
  const whyOf = (row) => {
    if (data.by_cluster) {
      const [size, taken] = data.clusters[row.cluster];
      return `Cluster ${row.cluster} has ${count(size)} rows and gave ${count(taken)}; in the order ` +
        `of the method this is number ${count(row.turn)} of them.`;
    }
    return `In the order of the method ${data.method} this is number ${count(row.rank + 1)} of ` +
      `${count(data.n)} rows; the first ${count(data.selected)} were chosen.`;
  };
  const curve = (row, box) => {
    const steps = data.steps, band = data.bands?.[row.cluster];
    const all = [...row.losses, ...(band ? [...band[0], ...band[2]] : [])];
    const high = Math.max(...all, 0.001), low = Math.min(...all, 0);
    const span = steps[steps.length - 1] - steps[0] || 1;
    const x = (step) => 40 + ((step - steps[0]) / span) * 425;
    const y = (loss) => 128 - ((loss - low) / (high - low || 1)) * 112;
    const through = (values) => "M" + values.map((one, i) => `${x(steps[i])} ${y(one)}`).join("L");
    box.append(make("h3", "", "Loss at the checkpoints of the proxy" + (band ? ", and its cluster" : "")));
    const svg = draw(box, "svg", { viewBox: "0 0 480 160", role: "img",
      "aria-label": "Loss at the checkpoints: " + row.losses.map((one) => one.toFixed(2)).join(", ") });
    for (const value of [low, (low + high) / 2, high]) {
      draw(svg, "path", { d: `M40 ${y(value)}H470`, class: "grid" });
      label(svg, 34, y(value) + 4, value.toFixed(2), "end");
    }
    if (band) {
      draw(svg, "path", { d: through(band[2]) + "L" + [...band[0]].reverse()
        .map((one, i) => `${x(steps[steps.length - 1 - i])} ${y(one)}`).join("L") + "Z", class: "band" });
      draw(svg, "path", { d: through(band[1]), class: "before thin" });
    }
    draw(svg, "path", { d: through(row.losses), class: "after" });
    for (let i = 0; i < steps.length; i++)
      draw(svg, "path", { d: `M${x(steps[i])} ${y(row.losses[i])}h0`, class: "dots chosen" });
    label(svg, 40, 152, "step " + count(steps[0]), "start");
    label(svg, 470, 152, count(steps[steps.length - 1]), "end");
  };
  const piece = (box, heading, text, kind) => {
    const turn = make("div", "turn" + (kind ? " " + kind : ""));
    turn.append(make("h3", "", heading), make("pre", "", text));
    box.append(turn);
  };
  const turns = (given, box) => {
    for (const [role, text, learned, missing] of given)
      piece(box, role + (learned ? ", learned" : ""),
        text + (missing ? `\n… ${count(missing)} more characters` : ""), learned ? "learned" : "");
  };

  const answers = {
    search: (one) => [one.question, one.reference, one.found, one.printed, one.stderr, ...one.completions],
    what: (one) => one.verdict,
    first: (one) => one.question,
    about: (one) => `${one.task} · found ${one.found ?? "nothing"} · right is ${one.reference}`,
    tests: {
      task: (one, value) => one.task === data.tasks[Number(value)],
      verdict: (one, value) => value === "failed" ? one.failed !== null
        : value === "truncated" ? one.truncated === 1 : one.verdict === value,
    },
    show: (one, box) => {
      const said = make("p");
      said.append(make("span", "verdict" + (one.verdict === "right" ? " yes" : ""), one.verdict));
      said.append(` (score ${Number(one.score.toFixed(3))}). Found: ${one.found ?? "no answer"}. `,
        `Right is: ${one.reference}.`);
      box.append(said);
      if (one.truncated) box.append(make("p", "soft", "A completion reached the length limit."));
      piece(box, "question", one.question);
      one.completions.forEach((text, i) => {
        const name = one.completions.length > 1 ? `completion ${i + 1} of ${one.completions.length}` : "completion";
        const ran = i === 0 && one.program !== null, alike = ran && one.program.trim() === text.trim();
        piece(box, name + (alike ? ", the program that ran" : ""), text, "learned");
        if (!ran) return;
        if (!alike) piece(box, "program that ran", one.program);
        piece(box, "what it printed", one.printed || "(nothing)");
        if (one.stderr) piece(box, "its standard error", one.stderr);
        if (one.failed) piece(box, "why it gave no answer", one.failed);
      });
    },
  };

  const kind = data.kind === "answers" ? answers : rows;
  const items = data.items.map((values, number) =>
    Object.fromEntries([["number", number], ...data.columns.map((name, i) => [name, values[i]])]));
  const searched = new Map();
  const textOf = (item) => {
    if (!searched.has(item)) searched.set(item, kind.search(item).filter(Boolean).join("\n").toLowerCase());
    return searched.get(item);
  };
  const list = at("items"), search = at("search");
  const selects = [...document.querySelectorAll("[data-filter]")];
  let found = items, shown = 0, extra = null;

  const more = () => {
    for (const item of found.slice(shown, shown + 40)) {
      const button = make("button");
      button.type = "button";
      const what = kind.what(item);
      button.append(make("span", "what" + (what === "chosen" || what === "right" ? " yes" : ""), what),
        make("span", "first", kind.first(item).slice(0, 300)), make("span", "about", kind.about(item)));
      button.addEventListener("click", () => open(item));
      const entry = make("li");
      entry.append(button);
      list.append(entry);
    }
    shown = Math.min(shown + 40, found.length);
    at("more").hidden = shown >= found.length;
  };
  const filter = () => {
    const wanted = search.value.trim().toLowerCase();
    found = items.filter((item) => (!wanted || textOf(item).includes(wanted)) &&
      (extra === null || kind.tests.call(item, extra)) &&
      selects.every((one) => one.value === "" || kind.tests[one.dataset.filter](item, one.value)));
    shown = 0;
    list.replaceChildren();
    more();
    at("count").textContent = `${count(found.length)} of ${count(items.length)} here` +
      (extra === null ? "." : `, all of them "${extra}". `);
    if (extra !== null) {
      const all = make("button", "", "Show all");
      all.type = "button";
      all.addEventListener("click", () => { extra = null; filter(); });
      at("count").append(all);
    }
  };
  at("browser").hidden = false;
  search.addEventListener("input", filter);
  for (const one of selects) one.addEventListener("change", filter);
  at("more").addEventListener("click", more);
  filter();

  // The reader: one item at a time, before and after as in the list.
  const reader = at("reader");
  let place = 0;
  const open = (item) => {
    place = found.indexOf(item);
    const body = at("reader-body");
    body.replaceChildren();
    at("reader-title").textContent = kind === rows ? item.place : item.task;
    at("reader-count").textContent = place < 0 ? "" : `${count(place + 1)} of ${count(found.length)}`;
    if (kind === rows) body.append(make("p", "soft", kind.about(item) + " · id " + item.id));
    kind.show(item, body);
    at("before").disabled = place <= 0;
    at("after").disabled = place < 0 || place >= found.length - 1;
    if (!reader.open) reader.showModal();
    reader.scrollTop = 0;
    history.replaceState(null, "", "#item-" + item.number);
  };
  const step = (by) => { const next = found[place + by]; if (place >= 0 && next) open(next); };
  at("before").addEventListener("click", () => step(-1));
  at("after").addEventListener("click", () => step(1));
  at("close").addEventListener("click", () => reader.close());
  reader.addEventListener("close", () => history.replaceState(null, "", location.href.split("#")[0]));
  reader.addEventListener("click", (event) => { if (event.target === reader) reader.close(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (reader.open && event.key === "ArrowLeft") step(-1);
    else if (reader.open && event.key === "ArrowRight") step(1);
    else if (!reader.open && event.key === "/" && !/INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) {
      event.preventDefault();
      search.scrollIntoView({ block: "center" });
      search.focus({ preventScroll: true });
    }
  });

  // The address names what is read, so that it can be sent with the page.
  const named = items[(/^#item-(\d+)$/.exec(location.hash) ?? [])[1]];
  if (named) open(named);

  // A cluster, a source or a call that is chosen in a figure becomes a filter.
  const only = (name, value) => {
    for (const one of selects) one.value = one.dataset.filter === name ? String(value) : "";
    search.value = "";
    extra = null;
    filter();
    at("read").scrollIntoView();
    (list.querySelector("button") ?? search).focus({ preventScroll: true });
    say(at("count").textContent);
  };
  for (const one of document.querySelectorAll("[data-cluster]")) {
    one.addEventListener("click", (event) => {
      event.preventDefault();
      only("cluster", one.dataset.cluster);
    });
  }
  for (const one of document.querySelectorAll("[data-source]")) {
    one.addEventListener("click", (event) => { event.preventDefault(); only("source", one.dataset.source); });
  }
  for (const button of document.querySelectorAll("[data-call]")) {
    button.addEventListener("click", () => {
      only("", "");
      extra = button.dataset.call;
      filter();
      list.querySelector("button")?.focus();
    });
  }

  // On a map the nearest point is meant; arrow keys go from point to point.
  for (const box of document.querySelectorAll("[data-plane]")) {
    const [xs, ys] = data.planes[Number(box.dataset.plane)];
    const svg = box.querySelector("svg"), readout = box.parentElement.querySelector(".readout");
    const ring = draw(svg, "circle", { r: 7, class: "pointed", visibility: "hidden" });
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", svg.getAttribute("aria-label") +
      ": arrow keys go from point to point, Enter reads the row");
    let now = -1;
    const point = (number, aloud) => {
      now = number;
      ring.setAttribute("visibility", number < 0 ? "hidden" : "visible");
      if (number < 0) { readout.textContent = ""; return; }
      ring.setAttribute("cx", xs[number]);
      ring.setAttribute("cy", ys[number]);
      readout.textContent = `${rows.what(items[number])} · ${rows.about(items[number])}`;
      if (aloud) say(readout.textContent);
    };
    const nearest = (x, y, reach, fits = () => true) => {
      let best = -1, least = reach * reach;
      for (let i = 0; i < xs.length; i++) {
        const far = (xs[i] - x) ** 2 + (ys[i] - y) ** 2;
        if (far < least && fits(xs[i] - x, ys[i] - y)) { best = i; least = far; }
      }
      return best;
    };
    const placeOf = (event) => {
      const frame = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / frame.width;
      return [(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale];
    };
    box.addEventListener("pointermove", (event) => point(nearest(...placeOf(event), 16), false));
    box.addEventListener("pointerleave", () => point(-1, false));
    box.addEventListener("click", (event) => {
      const number = nearest(...placeOf(event), 24);
      if (number >= 0) { point(number, false); open(items[number]); }
    });
    const ways = {
      ArrowLeft: (dx, dy) => dx < 0 && Math.abs(dy) <= -dx, ArrowRight: (dx, dy) => dx > 0 && Math.abs(dy) <= dx,
      ArrowUp: (dx, dy) => dy < 0 && Math.abs(dx) <= -dy, ArrowDown: (dx, dy) => dy > 0 && Math.abs(dx) <= dy,
    };
    box.addEventListener("keydown", (event) => {
      if (reader.open) return;
      if (event.key === "Enter" && now >= 0) { open(items[now]); return; }
      if (!(event.key in ways)) return;
      event.preventDefault();
      const from = now < 0 ? [215, 200] : [xs[now], ys[now]];
      const next = nearest(...from, 1e4, now < 0 ? undefined : ways[event.key]);
      if (next >= 0) point(next, true);
    });
    box.addEventListener("blur", () => point(-1, false));
  }
})();

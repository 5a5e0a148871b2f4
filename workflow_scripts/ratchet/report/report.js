/* What the page does beyond being read: figures that answer, a table that is searched,
   sorted and filtered, rows that open and are compared.  Text is only ever set as text. */
(() => {
  "use strict";
  const all = (query, within = document) => [...within.querySelectorAll(query)];
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const button = (name, title, act) => {
    const made = make("button", { type: "button", title, textContent: name, onclick: act });
    made.setAttribute("aria-label", title);
    return made;
  };
  // Without the mark before a verdict, which repeats it as a shape.
  const words = (text) => text.trim().replace(/^[●○✕…]\s*/, "").trim();

  // ------------------------------------------------------------------ figures

  const NARROW = 620;
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const tip = make("div", { id: "tip", role: "status", hidden: true });
  document.body.append(tip);

  function show(_, event, item, value) {
    const said = value && [plots.tips[item.datum.number], item.datum.tip].filter(Boolean);
    tip.hidden = !said?.length;
    if (tip.hidden) return;
    tip.textContent = said.join("\n");
    const { clientX: x, clientY: y } = event.touches?.[0] ?? event;
    const left = Math.min(x + 14, document.documentElement.clientWidth - tip.offsetWidth - 8);
    const below = y + 16 + tip.offsetHeight < window.innerHeight;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${below ? y + 16 : y - tip.offsetHeight - 10}px`;
  }

  function draw(holder) {
    const known = plots[holder.dataset.plot];
    const room = holder.parentElement.clientWidth;
    const style = getComputedStyle(holder.parentElement);
    const width = room - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const plot = width < NARROW && known[1] ? known[1] : known[0];
    const spec = structuredClone(plot.spec);
    for (const data of spec.data)
      if ("same" in data) {
        data.values = structuredClone(known[0].spec.data[data.same].values);
        delete data.same;
      }
    if (holder.dataset.experiment) fillCurves(spec, holder);
    const canvas = make("div");
    const view = new vega.View(vega.parse(spec, {}, { ast: true }), {
      expr: vegaInterpreter.expressionInterpreter,
      renderer: "svg",
      container: canvas,
      hover: true,
      tooltip: show,
      logLevel: vega.Warn,
    });
    view.width(width - plot.aside);
    view.addEventListener("click", (_, item) => {
      if (item?.datum?.number) visit(item.datum.number);
    });
    return view.runAsync().then(() => {
      holder.view?.finalize();
      const old = holder.querySelector(".plot");
      canvas.className = "plot";
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", holder.dataset.label);
      if (old) old.replaceWith(canvas);
      else holder.append(canvas, ...(plot.zoom ? [zoomers(holder)] : []));
      holder.view = view;
      holder.zoom = plot.zoom;
      holder.drawn = room;
      holder.classList.add("drawn");
      if (width - plot.aside < 0.97 * plot.spec.width) part(canvas);
    });
  }

  // Names are placed for the widest page; where it is narrower those that touch something go.
  function part(canvas) {
    const place = (element) => element.getBoundingClientRect();
    const edge = place(canvas);
    const taken = all(".mark-symbol.role-mark path, .role-axis-label text", canvas).map(place);
    const kept = new Map();
    for (const word of all("[class*='named_'] text", canvas)) {
      const box = place(word);
      const touches = (one) => box.left < one.right && one.left < box.right
        && box.top + 3 < one.bottom && one.top < box.bottom - 3;
      const others = [...kept].filter(([name]) => name !== word.textContent);
      if (box.left < edge.left || box.right > edge.right || taken.some(touches)
        || others.some(([, one]) => touches(one))) word.style.visibility = "hidden";
      else kept.set(word.textContent, box);
    }
  }

  function zoomers(holder) {
    const change = (near, far) => () => {
      const [low, high] = holder.view.scale("x").domain();
      holder.view.signal(holder.zoom, [low + near * (high - low), high + far * (high - low)]).run();
    };
    return make(
      "div",
      { className: "zoom" },
      button("+", "Zoom in", change(0.2, -0.2)),
      button("−", "Zoom out", change(-0.34, 0.34)),
      button("←", "Move left", change(-0.25, -0.25)),
      button("→", "Move right", change(0.25, 0.25)),
      button("All", "Show everything again", () => draw(holder)),
      make("span", {
        textContent: `Drag to move, Ctrl + wheel to zoom${table ? ", click a mark for its row" : ""}.`,
      }),
    );
  }

  // Curves of one experiment over those of the code that it was built on, and their axes.
  function fillCurves(spec, holder) {
    const { runs, steps, of } = plots.curves;
    const { own, with: others, name, axis } = of[holder.dataset.experiment];
    const sides = [["compared with", others, name], ["this experiment", own, `#${holder.dataset.experiment}`]];
    const rows = [], ends = [];
    for (const [side, places, who] of sides)
      for (const run of places) {
        const { step, seconds, loss, ended } = runs[run];
        const at = holder.dataset.plot === "curve_step" ? steps[step] : seconds;
        if (!at) continue;
        const tip = `${who}: ${loss.at(-1)} at the end${ended ? `, ${ended.replace("_", " ")}` : ""}`;
        rows.push(...at.map((x, i) => ({ x, y: loss[i], side, run, tip })));
        if (ended) ends.push({ x: at.at(-1), y: loss.at(-1), end: ended, tip });
      }
    for (const data of spec.data)
      if (data.values) data.values = "run" in data.values[0] ? rows : ends;
    for (const scale of spec.scales) {
      if (scale.name === "x") scale.domain = [0, Math.max(...rows.map(({ x }) => x), 1e-9)];
      if (scale.name === "y") scale.domain = axis.slice(0, 2);
      if (scale.name === "y" && axis[2]) scale.type = "log";
    }
    if (!rows.length) holder.hidden = true;
  }

  function panel(number, over) {
    const holder = make("div", { className: "live" });
    const label = `Training loss at equal ${over === "step" ? "steps" : over}`;
    Object.assign(holder.dataset, { plot: `curve_${over}`, experiment: number, label });
    return holder;
  }

  const holders = all("[data-plot]").filter((holder) => plots[holder.dataset.plot]?.length);
  const away = (holder) => holder.closest("details:not([open])");
  holders.forEach((holder, place) => setTimeout(() => away(holder) || draw(holder), 10 * place));
  // What is folded away has no width to be drawn to until it is opened.
  document.addEventListener("toggle", ({ target }) => {
    for (const holder of all("[data-plot]", target))
      if (!away(holder) && holder.drawn !== holder.parentElement.clientWidth) draw(holder);
  }, true);
  let resizing;
  window.addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => {
      for (const holder of all("[data-plot]")) {
        const room = holder.parentElement.clientWidth;
        if (room && holder.drawn && holder.drawn !== room) draw(holder);
      }
    }, 150);
  });

  // ------------------------------------------------------------------ folding

  function unfold(element) {
    for (const one of all(":scope > details.fold", element)) one.open = true;
    for (let one = element; one; one = one.parentElement?.closest("details")) one.open = true;
  }

  function arrive() {
    const element = document.getElementById(window.location.hash.slice(1));
    if (!element?.matches("section, section *")) return;
    unfold(element);
    element.scrollIntoView({ behavior: "instant" });
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#"]');
    const element = link && document.getElementById(link.hash.slice(1));
    if (element?.matches("section, section *")) unfold(element);
  });
  window.addEventListener("beforeprint", () => {
    for (const one of all("details.fold")) one.open = true;
    // Their own events would come when the paper is printed already.
    for (const holder of holders) if (!holder.drawn && !away(holder)) draw(holder);
  });

  // -------------------------------------------------------------------- table

  const sheet = document.getElementById("table");
  const table = sheet && ready(sheet);
  const chosen = [];

  function ready(sheet) {
    try {
      return tabulate(sheet);
    } finally {
      sheet.classList.add("ready");
    }
  }

  function tabulate(sheet) {
    if (window.matchMedia("(max-width: 720px)").matches)
      for (const box of all(".columns input"))
        box.checked = ["c-mean", "c-confidence"].includes(box.id);
    const heading = make("th", { scope: "col", className: "pick", textContent: "⇄" });
    heading.setAttribute("aria-label", "Compare");
    sheet.tHead.rows[0].prepend(heading);
    for (const row of sheet.tBodies[0].rows) {
      const number = row.id.slice(1);
      const box = make("input", { type: "checkbox", onchange: () => choose(number, box) });
      box.setAttribute("aria-label", `Compare experiment ${number}`);
      row.prepend(make("td", { className: "pick" }, box));
      const link = row.querySelector(".open");
      link.setAttribute("role", "button");
      link.setAttribute("aria-expanded", "false");
      link.closest("td").addEventListener("click", (event) => {
        event.preventDefault();
        link.focus({ preventScroll: true });
        toggle(number);
      });
      link.addEventListener("keydown", (event) => {
        if (event.key !== " ") return;
        event.preventDefault();
        toggle(number);
      });
    }
    const made = new DataTable(sheet, {
      autoWidth: false,
      paging: sheet.tBodies[0].rows.length > 40,
      pageLength: 25,
      lengthMenu: [25, 100, 1000, { label: "All", value: -1 }],
      order: [],
      columnDefs: [{ targets: 0, orderable: false, searchable: false }],
      layout: { topStart: null, topEnd: "search", bottomStart: "info" },
      language: { search: "Search", searchPlaceholder: "description, commit, …" },
    });
    filters(made);
    return made;
  }

  function filters(made) {
    const place = document.querySelector(".filters");
    const heads = [...sheet.tHead.rows[0].cells].map((cell) => cell.textContent);
    for (const name of ["Verdict", "Category"]) {
      const index = heads.indexOf(name);
      const said = [...sheet.tBodies[0].rows].map((row) => words(row.cells[index].textContent));
      const found = [...new Set(said)].sort();
      const list = make("select", { id: `filter-${name.toLowerCase()}` });
      list.append(...["all", ...found].map((value) => make("option", { textContent: value })));
      list.onchange = () => {
        const wanted = list.selectedIndex ? list.value : null;
        made.column(index).search.fixed("chosen", (_, data, row) => {
          return wanted === null || words(made.row(row).node().cells[index].textContent) === wanted;
        });
        made.draw();
      };
      place.append(make("label", {}, `${name} `, list));
    }
    place.hidden = false;
  }

  function toggle(number, open) {
    const element = document.getElementById(`e${number}`);
    if (!element) return null;
    const row = table.row(element);
    const link = element.querySelector(".open");
    const wanted = open ?? !row.child.isShown();
    if (wanted && !row.child.isShown()) {
      const cell = make("td", { colSpan: element.cells.length }, inside(number));
      row.child(make("tr", { className: "more" }, cell)).show();
      for (const holder of all("[data-plot]", cell)) draw(holder);
    } else if (!wanted && row.child.isShown()) {
      row.child.hide();
    }
    link.setAttribute("aria-expanded", String(wanted));
    return element;
  }

  // Details are in the page as text, and become elements when they are wanted: a
  // thousand diffs and logs would keep the page from opening at once.
  function inside(number) {
    const text = document.getElementById(`n${number}`).textContent;
    const parsed = new DOMParser().parseFromString(text, "text/html");
    const found = document.adoptNode(parsed.querySelector(".inside"));
    all("pre.copy", found).forEach(copied);
    const address = `${window.location.href.split("#")[0]}#exp-${number}`;
    const press = button("# Copy link", `Copy the address of experiment ${number}`, async () => {
      press.textContent = (await written(address)) ? "Copied" : address;
    });
    press.className = "press";
    found.prepend(press);
    for (const place of all(".curves", found))
      place.replaceChildren(...["step", "seconds"].map((over) => make("div", {}, panel(number, over))));
    return found;
  }

  function reveal(number) {
    const element = document.getElementById(`e${number}`) ?? hidden(number);
    if (!element) return;
    if (!element.isConnected) {
      table.search("");
      for (const list of all(".filters select")) {
        list.selectedIndex = 0;
        list.onchange();
      }
      table.page.len(-1).draw();
    }
    unfold(element);
    toggle(number, true);
    for (const row of all("#table .marked")) row.classList.remove("marked");
    element.classList.add("marked");
    element.scrollIntoView({ block: "start", behavior: "instant" });
    element.querySelector(".open").focus({ preventScroll: true });
  }

  function hidden(number) {
    const rows = table?.rows().nodes().toArray() ?? [];
    return rows.find((row) => row.id === `e${number}`);
  }

  // Each experiment has the address #exp-12; those of older pages, #e12 and #d12, go on working.
  const numbered = (hash) => /^#(?:exp-|[de])(\d+)$/.exec(hash)?.[1];

  function visit(number) {
    reveal(number);
    if (document.getElementById(`e${number}`)) window.location.hash = `exp-${number}`;
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#"]:not(.open)');
    const number = link && table && numbered(link.hash);
    if (!number) return;
    event.preventDefault();
    visit(number);
  });
  function come() {
    const number = table && numbered(window.location.hash);
    if (number) reveal(number);
    else arrive();
  }
  window.addEventListener("hashchange", come);
  come();

  // ------------------------------------------------------------------ compare

  const code = JSON.parse(document.getElementById("code")?.textContent ?? "null");
  const lists = code && table ? pickers() : [];

  // Two lists name any two experiments, the baseline too; ticking two rows does the same.
  function pickers() {
    const place = document.querySelector(".pair");
    const numbers = Object.keys(code.versions).map(Number).sort((a, b) => a - b);
    const rows = new Map(table.rows().nodes().toArray().map((row) => [row.id, row]));
    const named = (number) => {
      const text = rows.get(`e${number}`)?.querySelector(".open").textContent ?? "";
      return number ? `${number} ${text}`.slice(0, 48) : "0 baseline";
    };
    const made = ["Code: from", "to"].map((label) => {
      const list = make("select", { onchange: chooseLists });
      list.append(make("option", { value: "", textContent: "–" }));
      for (const number of [0, ...numbers])
        list.append(make("option", { value: number, textContent: named(number) }));
      place.append(make("label", {}, `${label} `, list));
      return list;
    });
    place.hidden = false;
    return made;
  }

  function chooseLists() {
    for (const { box } of chosen) if (box) box.checked = false;
    chosen.length = 0;
    for (const { value } of lists) {
      if (value === "") continue;
      const element = document.getElementById(`e${value}`) ?? hidden(value);
      const box = element?.querySelector(".pick input");
      if (box) box.checked = true;
      chosen.push({ number: value, box, row: element });
    }
    compare(false);
  }

  function choose(number, box) {
    const place = chosen.findIndex((one) => one.number === number);
    if (place >= 0) chosen.splice(place, 1);
    if (box.checked) chosen.push({ number, box, row: box.closest("tr") });
    if (chosen.length > 2) {
      const { box: first } = chosen.shift();
      if (first) first.checked = false;
    }
    compare();
  }

  function compare(named = true) {
    if (named) lists.forEach((list, place) => (list.value = chosen[place]?.number ?? ""));
    const panel = document.getElementById("compare");
    panel.hidden = chosen.length < 2;
    panel.replaceChildren(...(chosen.length < 2 ? [] : comparison(...chosen)));
  }

  function comparison(one, other) {
    const both = one.row && other.row;
    const heads = both ? [...sheet.tHead.rows[0].cells].map((cell) => cell.textContent.trim()) : [];
    const rows = heads.slice(2).flatMap((name, i) => {
      const [a, b] = [one, other].map(({ row }) => words(row.cells[i + 2].textContent));
      return a === b ? [] : [[name, a, b]];
    });
    const body = rows.map(([name, a, b]) =>
      make("tr", {}, make("th", { scope: "row", textContent: name }),
        make("td", { textContent: a }), make("td", { textContent: b })));
    if (!code && both) body.push(...edits(one, other));
    const top = ["Difference", `#${one.number}`, `#${other.number}`];
    const head = make("tr", {}, ...top.map((name) => make("th", { scope: "col", textContent: name })));
    const close = button("Close", "Close the comparison", () => {
      for (const { box } of chosen) if (box) box.checked = false;
      chosen.length = 0;
      compare();
    });
    const found = code ? codeDiff(+one.number, +other.number) : [];
    if (!body.length) return [...found, close];
    const told = make("table", { className: "rows" }, make("thead", {}, head), make("tbody", {}, ...body));
    return [make("div", { className: "box" }, told), ...found, close];
  }

  function edits(one, other) {
    const [mine, theirs] = [one, other].map(({ number }) => edit(number));
    if (mine.join() === theirs.join()) return [];
    const apart = (these, those) => these.filter((line) => !those.includes(line)).join("\n");
    const cell = (text) => make("td", {}, make("pre", { textContent: text || "–", tabIndex: 0 }));
    return [make("tr", {}, make("th", { scope: "row", textContent: "Only in this edit" }),
      cell(apart(mine, theirs)), cell(apart(theirs, mine)))];
  }

  function edit(number) {
    const lines = inside(number).querySelector(".edit");
    return (lines?.textContent ?? "").split("\n").filter((line) => /^[+-](?![+-])/.test(line));
  }

  // ------------------------------------------------------------- diff of code

  const CONTEXT = 3;
  const MOST_DIFFERENT = 1000; // Lines; past it the search takes long and the diff says little.
  const MOST_SHOWN = 3000;

  // Files of an experiment as lines, made from the one that it started from.
  function version(number) {
    if (!number) return code.files;
    const { of, edits } = code.versions[number];
    const files = { ...version(of) };
    for (const [name, list] of Object.entries(edits)) {
      if (list === null) {
        delete files[name];
        continue;
      }
      const lines = [...(files[name] ?? [])];
      for (const [place, gone, come] of list) lines.splice(place, gone, ...come);
      files[name] = lines;
    }
    return files;
  }

  function codeDiff(old, now) {
    const missing = [old, now].filter((number) => number && !code.versions[number]);
    if (missing.length || code.left_out.includes(0)) {
      const which = missing.map((number) => `#${number}`).join(" and ") || "this session";
      const textContent =
        `The code of ${which} is not in this page, to keep it small; ratchet diff ${old} ${now} shows it.`;
      return [make("p", { className: "quiet", textContent })];
    }
    const [a, b] = [version(old), version(now)];
    const pre = make("pre", { className: "edit code", tabIndex: 0 });
    let shown = 0, added = 0, removed = 0;
    for (const name of [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()) {
      const lines = lineDiff(a[name] ?? [], b[name] ?? []);
      added += lines.filter(([kind]) => kind === "+").length;
      removed += lines.filter(([kind]) => kind === "-").length;
      for (const [kind, text] of folded(name, lines)) {
        if (shown++ >= MOST_SHOWN) continue;
        const tag = { "+": "ins", "-": "del", "@": "b" }[kind] ?? "span";
        pre.append(make(tag, { textContent: text }));
      }
    }
    const title = `Code: from #${old} to #${now}, ${added} added, ${removed} removed`;
    const cut = shown > MOST_SHOWN ? `; ${shown - MOST_SHOWN} lines are not shown` : "";
    const heading = make("h4", { textContent: title + cut });
    return added + removed ? [heading, pre] : [make("h4", { textContent: `Code: #${old} and #${now} are the same` })];
  }

  // Myers' algorithm: a shortest list of lines that go and come, between equal ends.
  function lineDiff(a, b) {
    let head = 0, tail = 0;
    while (head < a.length && head < b.length && a[head] === b[head]) head++;
    while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++;
    const equal = (lines) => lines.map((line) => [" ", line]);
    return [
      ...equal(a.slice(0, head)),
      ...shortest(a.slice(head, a.length - tail), b.slice(head, b.length - tail)),
      ...equal(a.slice(a.length - tail)),
    ];
  }

  function shortest(a, b) {
    const whole = [...a.map((line) => ["-", line]), ...b.map((line) => ["+", line])];
    const most = Math.min(a.length + b.length, MOST_DIFFERENT);
    const trace = [];
    let far = new Map([[1, 0]]);
    for (let d = 0; d <= most; d++) {
      trace.push(new Map(far));
      for (let k = -d; k <= d; k += 2) {
        const down = k === -d || (k !== d && far.get(k - 1) < far.get(k + 1));
        let x = down ? far.get(k + 1) : far.get(k - 1) + 1;
        while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
        far.set(k, x);
        if (x >= a.length && x - k >= b.length) return walked(a, b, trace, d);
      }
    }
    return whole;
  }

  function walked(a, b, trace, depth) {
    const found = [];
    let [x, y] = [a.length, b.length];
    for (let d = depth; d > 0; d--) {
      const far = trace[d], k = x - y;
      const down = k === -d || (k !== d && far.get(k - 1) < far.get(k + 1));
      const before = down ? k + 1 : k - 1;
      const start = far.get(before);
      while (x > (down ? start : start + 1)) { x--; y--; found.push([" ", a[x]]); }
      if (down) found.push(["+", b[--y]]);
      else found.push(["-", a[--x]]);
    }
    while (x > 0) found.push([" ", a[--x]]);
    return found.reverse();
  }

  // Only what is near a change, with a line for each gap.
  function folded(name, lines) {
    const near = new Set();
    lines.forEach(([kind], place) => {
      if (kind === " ") return;
      for (let i = place - CONTEXT; i <= place + CONTEXT; i++) near.add(i);
    });
    if (!near.size) return [];
    const found = [["@", name]];
    let [old, now, open] = [1, 1, false];
    lines.forEach(([kind, text], place) => {
      if (near.has(place)) {
        if (!open) found.push(["@", `@@ -${old} +${now} @@`]);
        open = true;
        found.push([kind, kind + text]);
      } else open = false;
      if (kind !== "+") old++;
      if (kind !== "-") now++;
    });
    return found;
  }

  // --------------------------------------------------------------------- copy

  all("pre.copy").forEach(copied);

  async function written(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = make("textarea", { value: text });
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }

  function copied(block) {
    const press = button("Copy", "Copy this text", async () => {
      const done = await written(block.textContent);
      const range = document.createRange();
      range.selectNodeContents(block);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      press.textContent = done ? "Copied" : "Selected";
    });
    press.className = "press";
    block.before(press);
  }
})();

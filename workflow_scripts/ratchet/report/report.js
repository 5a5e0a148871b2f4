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
      if (item?.datum?.number) reveal(item.datum.number);
    });
    return view.runAsync().then(() => {
      holder.view?.finalize();
      const old = holder.querySelector(".plot");
      canvas.className = "plot";
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", holder.dataset.label);
      if (old) old.replaceWith(canvas);
      else holder.append(canvas, zoomers(holder));
      holder.view = view;
      holder.zoom = plot.zoom;
      holder.drawn = room;
      holder.classList.add("drawn");
    });
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

  const holders = all("[data-plot]").filter((holder) => plots[holder.dataset.plot]?.length);
  holders.forEach((holder, place) => setTimeout(() => draw(holder), 10 * place));
  let resizing;
  window.addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => {
      for (const holder of holders)
        if (holder.drawn && holder.drawn !== holder.parentElement.clientWidth) draw(holder);
    }, 150);
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
      for (const box of all(".columns input")) box.checked = ["c-delta"].includes(box.id);
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
      paging: sheet.tBodies[0].rows.length > 300,
      pageLength: 200,
      lengthMenu: [50, 200, 1000, { label: "All", value: -1 }],
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
    toggle(number, true);
    element.scrollIntoView({ block: "start", behavior: "instant" });
    element.querySelector(".open").focus({ preventScroll: true });
  }

  function hidden(number) {
    const rows = table?.rows().nodes().toArray() ?? [];
    return rows.find((row) => row.id === `e${number}`);
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#d"]:not(.open)');
    if (!link || !table || !/^#d\d+$/.test(link.hash)) return;
    event.preventDefault();
    reveal(link.hash.slice(2));
  });
  const asked = /^#[de](\d+)$/.exec(window.location.hash);
  if (table && asked) reveal(asked[1]);

  // ------------------------------------------------------------------ compare

  function choose(number, box) {
    const place = chosen.findIndex((one) => one.number === number);
    if (place >= 0) chosen.splice(place, 1);
    if (box.checked) chosen.push({ number, box, row: box.closest("tr") });
    if (chosen.length > 2) chosen.shift().box.checked = false;
    const panel = document.getElementById("compare");
    panel.hidden = chosen.length < 2;
    panel.replaceChildren(...(chosen.length < 2 ? [] : comparison(...chosen)));
  }

  function comparison(one, other) {
    const heads = [...sheet.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
    const rows = heads.slice(2).flatMap((name, i) => {
      const [a, b] = [one, other].map(({ row }) => words(row.cells[i + 2].textContent));
      return a === b ? [] : [[name, a, b]];
    });
    const [mine, theirs] = [one, other].map(({ number }) => edit(number));
    const apart = (these, those) => these.filter((line) => !those.includes(line)).join("\n");
    const body = rows.map(([name, a, b]) =>
      make("tr", {}, make("th", { scope: "row", textContent: name }),
        make("td", { textContent: a }), make("td", { textContent: b })));
    if (mine.join() !== theirs.join()) {
      const cell = (text) => make("td", {}, make("pre", { textContent: text || "–", tabIndex: 0 }));
      body.push(make("tr", {}, make("th", { scope: "row", textContent: "Only in this edit" }),
        cell(apart(mine, theirs)), cell(apart(theirs, mine))));
    }
    const top = ["Difference", `#${one.number}`, `#${other.number}`];
    const head = make("tr", {}, ...top.map((name) => make("th", { scope: "col", textContent: name })));
    const close = button("Close", "Close the comparison", () => {
      for (const { box } of chosen) box.checked = false;
      chosen.length = 0;
      document.getElementById("compare").hidden = true;
    });
    return [
      make("div", { className: "box" },
        make("table", { className: "rows" }, make("thead", {}, head), make("tbody", {}, ...body))),
      close,
    ];
  }

  function edit(number) {
    const lines = inside(number).querySelector(".edit");
    return (lines?.textContent ?? "").split("\n").filter((line) => /^[+-](?![+-])/.test(line));
  }

  // --------------------------------------------------------------------- copy

  all("pre.copy").forEach(copied);

  function copied(block) {
    const press = button("Copy", "Copy this text", async () => {
      const range = document.createRange();
      range.selectNodeContents(block);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      let done = true;
      try {
        await navigator.clipboard.writeText(block.textContent);
      } catch {
        done = document.execCommand("copy");
      }
      press.textContent = done ? "Copied" : "Selected";
    });
    press.className = "press";
    block.before(press);
  }
})();

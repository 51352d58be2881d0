"use strict";
// What the page does. Nothing here writes HTML: every text from the data set goes into text nodes and attributes.
(() => {
  const page = JSON.parse(document.getElementById("page").textContent);
  const by = (id) => document.getElementById(id);
  const root = document.documentElement;

  // ------------------------------------------------------------------ small things

  const SVG = "http://www.w3.org/2000/svg";

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  }
  const make = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
  const draw = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

  const number = (value) => value.toLocaleString("en");
  const count = (value, one, several) => `${number(value)} ${value === 1 ? one : several || one + "s"}`;
  // English ordinals: 2nd, 3rd, 11th, 22nd.
  const nth = (value) => `${number(value)}${(value % 100 - value % 10 !== 10 && ["th", "st", "nd", "rd"][value % 10]) || "th"}`;
  const badge = (word) => make("span", { class: `badge ${word}` }, word);

  // A label may be blanks, or a book: what stands for it where there is little room, and all of it for whoever points at it.
  const NOTHING = /^[\s\p{Cc}\p{Cf}\p{Z}\p{DI}\u2800]*$/u;
  const worded = (text) => (NOTHING.test(text) ? "(no label)" : text);
  const cut = (text, most = 80) => {
    const shown = worded(text);
    return shown.length <= most ? shown : `${shown.slice(0, most - 1).replace(/[\uD800-\uDBFF]$/, "")}…`;
  };
  const clip = (text, most, attributes) => make("bdi", { ...attributes, title: cut(text, most) === text ? null : text }, cut(text, most));

  // Where a file of the data set is, by its path. Names may hold anything.
  const address = (path) => page.images + path.split("/").map((part) => {
    try { return encodeURIComponent(part); } catch { return ""; }
  }).join("/");

  // A local file may be denied its storage; then choices live as long as the page does.
  const store = {
    works: true,
    get(key) {
      try { return localStorage.getItem(key); } catch { this.works = false; return null; }
    },
    set(key, value) {
      try { localStorage.setItem(key, value); } catch { this.works = false; }
    },
  };

  // ------------------------------------------------------------------ light and dark

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const themeButton = by("theme");

  function shownTheme() {
    return root.dataset.theme || (dark.matches ? "dark" : "light");
  }
  function tellTheme() {
    const other = shownTheme() === "dark" ? "light" : "dark";
    themeButton.textContent = other === "dark" ? "☾" : "☀";
    themeButton.setAttribute("aria-label", `Switch to ${other} colours`);
    themeButton.title = `Switch to ${other} colours`;
  }
  const chosenTheme = store.get("threecad:theme");
  if (chosenTheme === "dark" || chosenTheme === "light") root.dataset.theme = chosenTheme;
  themeButton.addEventListener("click", () => {
    root.dataset.theme = shownTheme() === "dark" ? "light" : "dark";
    store.set("threecad:theme", root.dataset.theme);
    tellTheme();
  });
  dark.addEventListener("change", tellTheme);
  tellTheme();
  by("print").addEventListener("click", () => print());

  // ------------------------------------------------------------------ what stands beside the page

  // Details of images and shapes are in the page, or in scripts beside it: a page from a file system may not fetch, but it may
  // load a script, which hands its rows to `threecadRows`.
  class Shelf {
    static all = new Map();

    constructor(name, told) {
      this.name = name;
      this.size = told.size;
      this.files = told.files;
      this.rows = new Map();
      this.asked = new Map();
      if (told.rows) this.rows.set(0, told.rows);
      Shelf.all.set(name, this);
    }

    async get(numbers) {
      await Promise.all([...new Set(numbers.map((each) => Math.floor(each / this.size)))].map((block) => this.load(block)));
      return numbers.map((each) => this.rows.get(Math.floor(each / this.size))?.[each % this.size] || null);
    }

    load(block) {
      if (this.rows.has(block) || !this.files) return null;
      if (!this.asked.has(block)) {
        this.asked.set(block, new Promise((resolve) => {
          const gone = () => { this.asked.delete(block); script.remove(); tellMissing(); resolve(); };
          const script = make("script", { src: page.beside + this.files[block], onload: () => { script.remove(); resolve(); }, onerror: gone });
          document.head.append(script);
        }));
      }
      return this.asked.get(block);
    }
  }
  window.threecadRows = (name, block, rows) => Shelf.all.get(name)?.rows.set(block, rows);

  function tellMissing() {
    by("missing").hidden = false;
  }

  // ------------------------------------------------------------------ the address: #gallery?state=defect&page=2

  function readAddress() {
    const [, name, query] = location.hash.match(/^#(gallery|queue)\?(.*)$/) || [];
    return name ? { name, query: new URLSearchParams(query) } : null;
  }
  function writeAddress(name, query) {
    const text = query.toString();
    const hash = text ? `#${name}?${text}` : `#${name}`;
    if (hash === location.hash || (!text && !readAddress())) return;
    try { history.replaceState(null, "", hash); } catch { /* an old browser, from a file system: the view is just not shared */ }
  }

  // ------------------------------------------------------------------ filters

  // Facets narrow a list. Within one, any ticked value will do; every facet has to agree. The number at a value tells how many
  // there would be with that value alone, the other facets standing as they are.
  class Facets {
    // facets: [{key, title, names, of: (row) => number | [numbers]}]; of tells the values of a row
    constructor(box, size, facets, changed) {
      this.size = size;
      this.changed = changed;
      this.facets = facets.filter((facet) => facet.names.length > 0);
      this.text = "";
      this.texts = null;
      for (const facet of this.facets) {
        facet.ticked = new Set();
        facet.lines = facet.names.map((name, value) => this.line(facet, name, value));
        if (!facet.changes) this.hide(facet);
        box.append(make("fieldset", {}, make("legend", {}, facet.title), make("div", { class: "options" }, facet.lines.map((line) => line.label))));
      }
    }

    // Values that no row has: types of outlines that are shown but not counted.
    hide(facet) {
      const counts = new Int32Array(facet.names.length);
      for (let row = 0; row < this.size; row += 1) this.tally(counts, facet.of(row));
      facet.lines.forEach((line, value) => { line.label.hidden = counts[value] === 0; });
    }

    line(facet, name, value) {
      const input = make("input", { type: "checkbox", name: facet.key, value: name, onchange: () => {
        if (input.checked) facet.ticked.add(value); else facet.ticked.delete(value);
        this.changed();
      } });
      const shown = make("span", { class: "count" });
      const label = make("label", { class: "option", title: facet.words ? `${name}: ${facet.words[value]}` : name }, input, make("span", { class: "name" }, make("bdi", {}, cut(name)), facet.words ? ` ${facet.words[value]}` : null), shown);
      return { input, shown, label };
    }

    // The rows that pass, in order; the numbers beside the values are brought up to date.
    pass() {
      const counts = this.facets.map((facet) => new Int32Array(facet.names.length));
      const found = [];
      const wanted = this.text.toLowerCase();
      for (let row = 0; row < this.size; row += 1) {
        if (wanted && !this.texts[row].includes(wanted)) continue;
        let failed = -1;
        let failures = 0;
        for (let f = 0; f < this.facets.length && failures < 2; f += 1) {
          if (!this.agrees(this.facets[f], row)) { failed = f; failures += 1; }
        }
        if (failures === 0) {
          found.push(row);
          for (let f = 0; f < counts.length; f += 1) this.tally(counts[f], this.facets[f].of(row));
        } else if (failures === 1) {
          this.tally(counts[failed], this.facets[failed].of(row));
        }
      }
      this.facets.forEach((facet, f) => facet.lines.forEach((line, value) => {
        line.shown.textContent = number(counts[f][value]);
        line.label.classList.toggle("none", counts[f][value] === 0);
      }));
      return found;
    }

    agrees(facet, row) {
      if (!facet.ticked.size) return true;
      const values = facet.of(row);
      if (typeof values === "number") return facet.ticked.has(values);
      return values.some((value) => facet.ticked.has(value));
    }

    tally(counts, values) {
      if (typeof values === "number") counts[values] += 1;
      else for (const value of values) counts[value] += 1;
    }

    get any() {
      return this.text !== "" || this.facets.some((facet) => facet.ticked.size > 0);
    }

    clear() {
      this.text = "";
      for (const facet of this.facets) this.tick(facet, []);
    }

    tick(facet, names) {
      facet.ticked = new Set(names.map((name) => facet.names.indexOf(name)).filter((value) => value >= 0));
      facet.lines.forEach((line, value) => { line.input.checked = facet.ticked.has(value); });
    }

    write(query) {
      for (const facet of this.facets) for (const value of [...facet.ticked].sort((a, b) => a - b)) query.append(facet.key, facet.names[value]);
      if (this.text) query.set("q", this.text);
    }

    read(query) {
      for (const facet of this.facets) this.tick(facet, query.getAll(facet.key));
      this.text = query.get("q") || "";
    }
  }

  // Pages of a list: a field for the number, and buttons on both sides.
  class Pager {
    constructor(box, changed) {
      this.page = 0;
      this.pages = 1;
      const go = (to) => { this.page = Math.min(Math.max(to, 0), this.pages - 1); changed(); };
      this.input = make("input", { type: "number", min: 1, "aria-label": "Page", onchange: () => go((Number(this.input.value) || 1) - 1) });
      this.before = make("button", { type: "button", "aria-label": "Previous page", onclick: () => go(this.page - 1) }, "‹");
      this.after = make("button", { type: "button", "aria-label": "Next page", onclick: () => go(this.page + 1) }, "›");
      this.of = make("span", { class: "quiet" });
      this.box = box;
      box.append(this.before, this.input, this.of, this.after);
    }

    show(total, size) {
      this.pages = Math.max(1, Math.ceil(total / size));
      this.page = Math.min(this.page, this.pages - 1);
      this.input.value = this.page + 1;
      this.input.max = this.pages;
      this.of.textContent = `of ${number(this.pages)}`;
      this.before.disabled = this.page === 0;
      this.after.disabled = this.page >= this.pages - 1;
      this.box.hidden = this.pages === 1;
    }
  }

  // ------------------------------------------------------------------ images and outlines

  const tiles = page.tiles;
  const shelf = new Shelf("tiles", page.tiles.details);
  // Details number types in the order in which these were met.
  const typeName = (type) => tiles.names.type[tiles.order[type]];
  const typeClass = (type) => `t${tiles.order[type] % 8}`;

  function contour(detail) {
    if (!detail.outlines) return null;
    const lines = detail.outlines.flatMap(([type, path]) => [
      draw("path", { d: path, class: "under" }),
      draw("path", { d: path, class: `over ${typeClass(type)}` }),
    ]);
    return draw("svg", { class: "contour", viewBox: `0 0 ${detail.width} ${detail.height}`, "aria-hidden": "true" }, lines);
  }
  const thumb = (detail) => (detail.thumb.startsWith("data:") ? detail.thumb : page.beside + detail.thumb);

  function look(detail) {
    const box = make("span", { class: "look" });
    if (detail?.thumb) box.append(make("img", { src: thumb(detail), alt: "", loading: "lazy", decoding: "async", onerror: tellMissing }));
    if (detail?.width) box.append(contour(detail) || "");
    if (!detail?.thumb) box.append(make("span", { class: "missing" }, detail ? detail.why : "Not loaded"));
    return box;
  }

  // What a tile is called where there is little room: its file without folders, its place in the photograph instead of a hash.
  function shortName(row, detail) {
    const name = tiles.id[row].split("/").at(-1);
    const cut = detail?.window ? name.match(/^(.*)-[0-9a-f]{12}-(\d{6}|x\d{10})-(\d{6}|x\d{10})$/) : null;
    return cut ? `${cut[1]} · ${detail.window[0]}, ${detail.window[1]}` : name;
  }

  function typesOf(row) {
    return tiles.types[row].map((type) => tiles.names.type[type]);
  }
  function describe(row) {
    const kinds = typesOf(row);
    return `${cut(tiles.id[row], 240)}, ${tiles.names.split[tiles.split[row]]}, ${tiles.names.state[tiles.state[row]]}${kinds.length ? ": " + cut(kinds.map((kind) => cut(kind)).join(", "), 240) : ""}`;
  }

  // ------------------------------------------------------------------ gallery

  const PER_PAGE = 60;
  const RANKS = ["defect", "ambiguous", "poisoned", "unknown", "good"];
  const ranks = tiles.state.map((state, row) => RANKS.indexOf(tiles.names.state[state]) + (tiles.names.split[tiles.split[row]] === "unused" ? RANKS.length : 0));
  const SORTS = {
    defects: (a, b) => ranks[a] - ranks[b] || a - b,
    set: (a, b) => a - b,
    largest: (a, b) => tiles.largest[b] - tiles.largest[a] || a - b,
    smallest: (a, b) => (tiles.largest[a] || Infinity) - (tiles.largest[b] || Infinity) || a - b,
  };

  const gallery = {
    shown: [],
    turn: 0,

    start() {
      const names = tiles.names;
      this.list = by("tiles");
      this.search = by("search");
      this.order = by("order");
      this.status = by("gallery-count");
      this.facets = new Facets(by("gallery-fields"), tiles.id.length, [
        { key: "category", title: "Category", names: names.category, of: (row) => tiles.category[row] },
        { key: "split", title: "Split", names: names.split, of: (row) => tiles.split[row] },
        { key: "state", title: "State", names: names.state, of: (row) => tiles.state[row] },
        { key: "type", title: "Type of defect", names: names.type, of: (row) => tiles.types[row] },
        { key: "size", title: "Size of a defect", names: names.size, of: (row) => tiles.sizes[row] },
      ], () => this.filter());
      this.facets.texts = tiles.id.map((id) => id.toLowerCase());
      this.pager = new Pager(by("gallery-pager"), () => this.show());
      let wait = 0;
      this.search.addEventListener("input", () => {
        clearTimeout(wait);
        wait = setTimeout(() => { this.facets.text = this.search.value.trim(); this.filter(); }, 120);
      });
      this.order.addEventListener("change", () => this.filter());
      for (const button of document.querySelectorAll("[data-clear=gallery]")) button.addEventListener("click", () => { this.facets.clear(); this.search.value = ""; this.filter(); });
      this.filter(false);
    },

    read(query) {
      this.facets.read(query);
      this.search.value = this.facets.text;
      this.order.value = SORTS[query.get("order")] ? query.get("order") : "defects";
      this.pager.page = Math.max(0, (Number(query.get("page")) || 1) - 1);
      const done = this.filter(true, false);
      const wanted = query.get("image");
      const place = wanted === null ? -1 : this.shown.findIndex((row) => tiles.id[row] === wanted);
      if (place >= 0) viewer.open(place);
      return done;
    },

    filter(told = true, back = true) {
      this.shown = this.facets.pass();
      this.shown.sort(SORTS[this.order.value]);
      if (back) this.pager.page = 0;
      return this.show(told);
    },

    async show(told = true) {
      const turn = ++this.turn;
      this.pager.show(this.shown.length, PER_PAGE);
      const first = this.pager.page * PER_PAGE;
      const rows = this.shown.slice(first, first + PER_PAGE);
      const all = tiles.id.length;
      const range = this.pager.pages > 1 ? `, ${number(first + 1)}–${number(first + rows.length)} here` : "";
      this.status.textContent = `${this.shown.length === all ? "" : `${number(this.shown.length)} of `}${count(all, "image")}${range}`;
      by("gallery-empty").hidden = this.shown.length > 0;
      by("gallery-clear").hidden = !this.facets.any;
      if (told) this.tell();
      const details = await shelf.get(rows);
      if (turn !== this.turn) return;
      this.list.replaceChildren(...rows.map((row, number) => this.tile(row, details[number], first + number)));
    },

    tile(row, detail, place) {
      const state = tiles.names.state[tiles.state[row]];
      const kinds = typesOf(row);
      return make("li", {}, make("button", { class: "tile", type: "button", "aria-label": `Show ${describe(row)}`, onclick: () => viewer.open(place) },
        look(detail),
        make("span", { class: "words" },
          make("span", {}, badge(state), " ", make("small", { class: "quiet" }, tiles.names.split[tiles.split[row]])),
          make("span", { class: "kinds", title: kinds.join(", ") || null }, kinds.length ? cut(kinds.map((kind) => cut(kind)).join(", "), 240) : "\u00a0"),
          make("span", { class: "id", title: tiles.id[row] }, make("bdi", {}, cut(shortName(row, detail), 240))))));
    },

    tell(image = null) {
      const query = new URLSearchParams();
      this.facets.write(query);
      if (this.order.value !== "defects") query.set("order", this.order.value);
      if (this.pager.page > 0) query.set("page", this.pager.page + 1);
      if (image !== null) query.set("image", image);
      writeAddress("gallery", query);
    },
  };

  // ------------------------------------------------------------------ full view

  const STEPS = [0.125, 0.25, 0.5, 1, 2, 4, 8, 16];

  const viewer = {
    place: 0,
    rows: [],
    scale: null, // null: as large as fits

    start() {
      this.box = by("viewer");
      this.stage = by("stage");
      this.facts = by("facts");
      this.note = by("viewer-note");
      by("viewer-before").addEventListener("click", () => this.go(-1));
      by("viewer-after").addEventListener("click", () => this.go(1));
      by("viewer-contour").addEventListener("click", () => this.toggle());
      by("viewer-fit").addEventListener("click", () => this.zoom(null));
      by("viewer-one").addEventListener("click", () => this.zoom(1));
      by("viewer-in").addEventListener("click", () => this.step(1));
      by("viewer-out").addEventListener("click", () => this.step(-1));
      by("viewer-close").addEventListener("click", () => this.box.close());
      this.box.addEventListener("close", () => { if (this.fromGallery) { gallery.tell(); this.back(); } });
      // On the page, not on the dialog: a button that is disabled while it has the focus leaves the keys to nobody.
      addEventListener("keydown", (event) => { if (this.box.open) this.key(event); });
      addEventListener("resize", () => { if (this.box.open) this.lay(); });
    },

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const does = {
        ArrowLeft: () => this.go(-1), ArrowRight: () => this.go(1), Home: () => this.go(-Infinity), End: () => this.go(Infinity),
        c: () => this.toggle(), f: () => this.zoom(this.scale === null ? 1 : null), 1: () => this.zoom(1), 0: () => this.zoom(null),
        "+": () => this.step(1), "=": () => this.step(1), "-": () => this.step(-1),
      }[event.key];
      if (!does) return;
      event.preventDefault();
      does();
    },

    // `place` counts in the gallery's list, or in `rows` where an image is shown from elsewhere on the page.
    open(place, rows = null) {
      this.fromGallery = rows === null;
      this.rows = rows || gallery.shown;
      this.place = place;
      this.scale = null;
      if (!this.box.open) this.box.showModal();
      by("stage").focus(); // not by autofocus, which browsers complain of where something has the focus already
      this.show();
    },

    back() {
      const page = Math.floor(this.place / PER_PAGE);
      const focus = () => by("tiles").children[this.place % PER_PAGE]?.firstChild.focus();
      if (page === gallery.pager.page) focus();
      else { gallery.pager.page = page; gallery.show().then(focus); }
    },

    go(by) {
      const place = Math.min(Math.max(this.place + by, 0), this.rows.length - 1);
      if (place !== this.place) { this.place = place; this.show(); }
    },

    toggle() {
      const off = this.stage.classList.toggle("without");
      by("viewer-contour").setAttribute("aria-pressed", String(!off));
    },

    zoom(scale) { this.scale = scale; this.lay(); },

    step(by) {
      const now = this.now;
      const next = by > 0 ? STEPS.find((each) => each > now * 1.01) : STEPS.findLast((each) => each < now * 0.99);
      if (next) this.zoom(next);
    },

    async show() {
      const row = this.rows[this.place];
      by("viewer-title").replaceChildren(clip(tiles.id[row], 160));
      by("viewer-place").textContent = `${number(this.place + 1)} of ${number(this.rows.length)}`;
      for (const [id, last] of [["viewer-before", 0], ["viewer-after", this.rows.length - 1]]) {
        if (this.place === last && document.activeElement === by(id)) this.stage.focus();
        by(id).disabled = this.place === last;
      }
      if (this.fromGallery) gallery.tell(tiles.id[row]);
      const [detail] = await shelf.get([row]);
      if (row !== this.rows[this.place]) return;
      this.detail = detail;
      this.tellFacts(row, detail);
      this.note.hidden = true;
      this.sheet = make("div", { class: "sheetlet" });
      if (detail) this.fill(row, detail);
      this.stage.replaceChildren(this.sheet);
      this.lay();
      this.ahead();
    },

    fill(row, detail) {
      const enlarge = (why) => {
        if (detail.thumb) picture.src = thumb(detail);
        this.say(why);
      };
      const picture = make("img", { alt: describe(row) });
      if (!detail.thumb) {
        this.say(detail.why);
        this.sheet.classList.add("blank");
      } else if (detail.kind) {
        enlarge(`Browsers do not show ${detail.kind}: this is the thumbnail, enlarged.`);
      } else {
        picture.addEventListener("error", () => enlarge("The image is not where it was when this report was written: this is the thumbnail, enlarged."), { once: true });
        picture.src = address(detail.path);
      }
      if (detail.thumb) this.sheet.append(picture);
      this.sheet.append(contour(detail) || "");
    },

    say(text) {
      this.note.textContent = text;
      this.note.hidden = false;
    },

    lay() {
      if (!this.detail || !this.sheet) return;
      const { width, height } = this.detail;
      const room = [this.stage.clientWidth - 24, this.stage.clientHeight - 24];
      const fits = Math.min(room[0] / width, room[1] / height, 16);
      this.now = this.scale === null ? fits : this.scale;
      this.sheet.style.width = `${width * this.now}px`;
      this.sheet.style.height = `${height * this.now}px`;
      this.sheet.classList.toggle("coarse", this.now >= 2);
      by("viewer-fit").setAttribute("aria-pressed", String(this.scale === null));
      by("viewer-one").setAttribute("aria-pressed", String(this.scale === 1));
      by("viewer-scale").textContent = `${Math.round(this.now * 100)} %`;
    },

    // The neighbours, so that the arrow keys show them at once.
    ahead() {
      const near = [this.place + 1, this.place - 1].filter((place) => place >= 0 && place < this.rows.length).map((place) => this.rows[place]);
      shelf.get(near).then((details) => {
        for (const detail of details) if (detail?.thumb && !detail.kind) new Image().src = address(detail.path);
      });
    },

    tellFacts(row, detail) {
      const facts = [["Split", badge(tiles.names.split[tiles.split[row]])], ["State", badge(tiles.names.state[tiles.state[row]])]];
      facts.push(["Category", clip(tiles.names.category[tiles.category[row]])]);
      if (detail) {
        if (detail.path) facts.push(["File", clip(detail.path, 240, { class: "mono" })]);
        if (detail.source) facts.push(["Source", clip(detail.source, 240, { class: "mono" })]);
        if (detail.window) facts.push(["Window", `left ${detail.window[0]}, top ${detail.window[1]}, ${detail.window[2]} × ${detail.window[3]} px`]);
        if (detail.width) facts.push(["Size", `${detail.width} × ${detail.height} px${detail.depth ? `, ${detail.depth}` : ""}`]);
      }
      const parts = [make("dl", {}, facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]))];
      if (detail?.areas) parts.push(this.areas(detail));
      if (detail?.spots) parts.push(this.spots(detail));
      if (detail?.lost) parts.push(make("p", {}, `Shrunk (${detail.lost.join(", ")}), nothing of the defect is left.`));
      for (const text of detail?.flaws || []) parts.push(make("p", { class: "note" }, clip(text, 400)));
      this.facts.replaceChildren(...parts);
    },

    areas(detail) {
      const whole = detail.width * detail.height;
      const lines = detail.areas.map(([type, area]) => make("tr", {},
        make("th", { scope: "row" }, this.swatch(type), " ", clip(typeName(type), 60)),
        make("td", { class: "number" }, number(area)),
        make("td", { class: "number" }, `${((100 * area) / whole).toPrecision(2)} %`)));
      return this.table("Types", ["type", "pixels", "of the image"], lines);
    },

    spots(detail) {
      const lines = detail.spots.map(([size, area, long, short, x, y]) => make("tr", {},
        make("th", { scope: "row" }, page.sizes[size]),
        make("td", { class: "number" }, number(area)),
        make("td", { class: "number" }, `${long} × ${short}`),
        make("td", { class: "number" }, `${x}, ${y}`)));
      const more = detail.more ? [make("p", { class: "quiet" }, `and ${count(detail.more, "smaller one")}`)] : [];
      return make("div", {}, this.table(count(detail.spots.length + (detail.more || 0), "defect"), ["class", "pixels", "sides", "at x, y"], lines), ...more);
    },

    swatch(type) {
      return draw("svg", { viewBox: "0 0 16 10", width: 16, height: 10, "aria-hidden": "true" },
        draw("rect", { width: 16, height: 10, fill: "#303842" }), draw("path", { d: "M1 5h14", class: typeClass(type), "stroke-width": 3 }));
    },

    table(title, heads, lines) {
      return make("table", {}, make("caption", {}, title),
        make("thead", {}, make("tr", {}, heads.map((head, place) => make("th", { scope: "col", class: place ? "number" : "" }, head)))),
        make("tbody", {}, lines));
    },
  };

  // ------------------------------------------------------------------ pictures of copies

  function startCopies() {
    const numbers = (list) => [...list.querySelectorAll("[data-tile]")].map((each) => Number(each.dataset.tile));
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries.filter((each) => each.isIntersecting)) {
        seen.unobserve(entry.target);
        const rows = numbers(entry.target);
        shelf.get(rows).then((details) => entry.target.querySelectorAll("[data-tile]").forEach((box, place) => {
          box.append(...look(details[place]).childNodes);
          box.addEventListener("click", () => viewer.open(place, rows));
        }));
      }
    }, { rootMargin: "400px" });
    for (const list of document.querySelectorAll(".members")) seen.observe(list);
  }

  // ------------------------------------------------------------------ relabel queue

  const CHOICES = ["accept", "relabel", "drop"];
  const PER_QUEUE = 20;
  const MOST_PRINTED = 200; // shapes; of more, the page that is shown goes to paper

  const queue = {
    turn: 0,

    start() {
      const told = page.queue;
      this.told = told;
      this.cases = told.cases;
      this.shelf = new Shelf("cases", told.details);
      this.key = `threecad:decisions:${page.digest}`;
      // Shapes that are equal to the last digit are one and the same to a decision: row → the numbers of all rows like it.
      const same = new Map();
      this.cases.forEach((_, row) => same.set(this.name(row), [...same.get(this.name(row)) || [], row]));
      this.same = same;
      this.twins = this.cases.map((_, row) => same.get(this.name(row)));
      this.held = this.twins.map((rows) => rows.map((row) => this.cases[row].decision).find(Boolean) || null);
      this.choices = [...this.held];
      this.load();
      this.list = by("cases");
      const codes = told.names.code;
      this.facets = new Facets(by("queue-fields"), this.cases.length, [
        { key: "choice", title: "Your choice", changes: true, names: ["undecided", ...CHOICES], of: (row) => CHOICES.indexOf(this.choices[row]) + 1 },
        { key: "outcome", title: "As it stands", names: told.names.action, of: (row) => this.cases[row].action },
        { key: "category", title: "Category", names: told.names.category, of: (row) => this.cases[row].category },
        { key: "code", title: "Finding", names: codes, words: told.meanings, of: (row) => this.cases[row].codes },
      ], () => this.filter());
      this.pager = new Pager(by("queue-pager"), () => this.show());
      for (const button of document.querySelectorAll("[data-clear=queue]")) button.addEventListener("click", () => { this.facets.clear(); this.filter(); });
      by("export").addEventListener("click", () => this.save());
      by("import").addEventListener("change", (event) => this.take(event.target));
      this.list.addEventListener("keydown", (event) => this.press(event));
      this.filter(false);
      this.tellProgress();
    },

    // --- choices

    load() {
      let kept = null;
      try { kept = JSON.parse(store.get(this.key)); } catch { /* nothing that we wrote */ }
      if (kept === null || typeof kept !== "object") return;
      for (const [name, [row]] of this.same) {
        const choice = Object.hasOwn(kept, name) ? kept[name] : undefined;
        if (choice === "none") this.set(row, null);
        else if (this.allowed(row, choice)) this.set(row, choice);
      }
    },

    name(row) {
      return `${this.cases[row].source}#${this.cases[row].digest}`;
    },

    can(row) {
      return this.twins[row].every((each) => this.cases[each].can);
    },

    allowed(row, choice) {
      return CHOICES.includes(choice) && (choice !== "accept" || this.can(row));
    },

    changes() {
      return [...this.cases.keys()].filter((row) => this.choices[row] !== this.held[row]);
    },

    set(row, choice) {
      for (const each of this.twins[row]) this.choices[each] = choice;
    },

    choose(row, choice) {
      if (choice !== null && !this.allowed(row, choice)) return;
      this.set(row, choice);
      this.keep();
      for (const card of this.list.querySelectorAll(".case")) if (this.twins[card.dataset.row] === this.twins[row]) this.mark(card, choice);
      this.facets.pass(); // the numbers beside the choices; the list stays as it is, so that nothing moves under the hand
      this.tellProgress();
    },

    keep() {
      const kept = {};
      const changes = this.changes();
      for (const row of changes) kept[this.name(row)] = this.choices[row] || "none";
      store.set(this.key, JSON.stringify(kept));
      // Only while something would be lost: a page that listens for its end is left more slowly.
      if (changes.length && !store.works) addEventListener("beforeunload", this.warn);
      else removeEventListener("beforeunload", this.warn);
    },

    warn(event) { event.preventDefault(); },

    // One decision for each shape, however often it was drawn.
    decisions() {
      return [...this.same.values()].flatMap(([row]) => {
        const decision = this.choices[row] || (this.held[row] ? "none" : null);
        const { source, shape, digest } = this.cases[row];
        return decision ? [{ source, shape, digest, decision }] : [];
      });
    },

    save() {
      const rows = this.decisions();
      const text = JSON.stringify({ format: 1, decisions: rows }, null, 1) + "\n";
      const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "application/json" })), download: "decisions.json" });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      this.say(`Exported ${count(rows.length, "decision")} to decisions.json.`);
    },

    async take(input) {
      const [file] = input.files;
      input.value = "";
      if (!file) return;
      let told = null;
      try { told = JSON.parse(await file.text()); } catch { /* told is null */ }
      if (told?.format !== 1 || !Array.isArray(told.decisions)) {
        this.say(`${file.name} is no file of decisions: expected what Export writes.`);
        return;
      }
      let taken = 0;
      for (const each of told.decisions) {
        const [row] = this.same.get(`${each?.source}#${each?.digest}`) || [];
        if (row === undefined || !(each.decision === "none" || this.allowed(row, each.decision))) continue;
        this.set(row, each.decision === "none" ? null : each.decision);
        taken += 1;
      }
      const left = told.decisions.length - taken;
      this.keep();
      this.filter();
      this.tellProgress();
      this.say(`Took ${count(taken, "decision")} from ${file.name}${left ? `; ${count(left, "other")} fit no shape of this queue` : ""}.`);
    },

    say(text) { by("queue-said").textContent = text; },

    tellProgress() {
      const waiting = this.cases.flatMap((each, row) => (this.told.names.action[each.action] === "queued" ? [row] : []));
      const decided = (rows) => rows.filter((row) => this.choices[row]).length;
      const all = decided([...this.cases.keys()]);
      const bar = by("queue-bar");
      bar.max = Math.max(waiting.length, 1);
      bar.value = waiting.length ? decided(waiting) : 1;
      const others = this.cases.length - waiting.length;
      const of = waiting.length ? `${number(decided(waiting))} of ${number(waiting.length)} that wait decided` : "Nothing waits";
      by("queue-progress").textContent = others ? `${of}; ${number(all - decided(waiting))} of ${number(others)} others` : of;
      const fresh = this.changes().length;
      by("queue-unsaved").textContent = fresh ? `${count(fresh, "choice")} differ${fresh === 1 ? "s" : ""} from the data set` : "";
      by("queue-kept").hidden = store.works;
    },

    // --- the list

    read(query) {
      this.facets.read(query);
      this.pager.page = Math.max(0, (Number(query.get("page")) || 1) - 1);
      return this.filter(true, false);
    },

    filter(told = true, back = true) {
      this.shown = this.facets.pass();
      if (back) this.pager.page = 0;
      return this.show(told);
    },

    async show(told = true, all = false) {
      const turn = ++this.turn;
      const size = all ? this.shown.length || 1 : PER_QUEUE;
      this.pager.show(this.shown.length, size);
      const first = this.pager.page * size;
      const rows = this.shown.slice(first, first + size);
      by("queue-count").textContent = `${this.shown.length === this.cases.length ? "" : `${number(this.shown.length)} of `}${count(this.cases.length, "shape")}`;
      by("queue-empty").hidden = this.shown.length > 0;
      by("queue-clear").hidden = !this.facets.any;
      if (told) {
        const query = new URLSearchParams();
        this.facets.write(query);
        if (this.pager.page > 0) query.set("page", this.pager.page + 1);
        writeAddress("queue", query);
      }
      const details = await this.shelf.get(rows);
      if (turn !== this.turn) return;
      this.list.replaceChildren(...rows.map((row, number) => make("li", {}, this.card(row, details[number], first + number))));
    },

    press(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=radio])")) return;
      const card = event.target.closest(".case");
      if (!card) return;
      const row = Number(card.dataset.row);
      const choice = { a: "accept", r: "relabel", d: "drop", u: "" }[event.key];
      if (choice !== undefined) {
        event.preventDefault();
        const input = card.querySelector(`input[value="${choice}"]`);
        if (input && !input.disabled) { input.checked = true; this.choose(row, choice || null); }
      } else if (event.key === "j" || event.key === "k") {
        event.preventDefault();
        this.move(card, event.key === "j" ? 1 : -1);
      } else if (event.key === "z") {
        event.preventDefault();
        card.querySelector(".near")?.click();
      }
    },

    async move(card, by) {
      const cards = [...this.list.querySelectorAll(".case")];
      const place = cards.indexOf(card) + by;
      const page = this.pager.page + by;
      if (cards[place]) this.focus(cards[place]);
      else if (page >= 0 && page < this.pager.pages) {
        this.pager.page = page;
        await this.show();
        this.focus([...this.list.querySelectorAll(".case")].at(by > 0 ? 0 : -1));
      }
    },

    focus(card) {
      card.focus({ preventScroll: true });
      card.scrollIntoView({ block: "start" });
    },

    card(row, detail, place) {
      const each = this.cases[row];
      const outcome = this.told.names.action[each.action];
      const title = `case-${row}`;
      const head = make("header", {},
        make("h3", { id: title }, `${number(place + 1)}. `, clip(each.label, 120)),
        badge(outcome), ...each.codes.map((code) => make("code", { title: this.told.meanings[code] }, this.told.names.code[code])));
      const card = make("article", { class: "case card", tabindex: "-1", "data-row": row, "aria-labelledby": title }, head);
      const times = this.twins[row].length;
      if (times > 1) card.append(make("p", { class: "twins quiet" }, `The same shape is drawn ${number(times)} times: one decision for all.`));
      if (detail) {
        const lens = new Lens(each, detail, this.beside(detail));
        card.append(lens.pair(outcome), this.reasons(each, detail));
        if (lens.button) card.append(make("div", { class: "controls" }, lens.button));
        card.append(this.facts(each, detail), this.vertices(each, detail));
      } else {
        card.append(make("p", { class: "note" }, "The folder beside this page is missing: the drawing cannot be shown."));
      }
      card.append(this.buttons(row, each, outcome));
      return card;
    },

    beside(detail) {
      if (!detail.picture) return null;
      return detail.picture.startsWith("data:") ? detail.picture : address(detail.picture);
    },

    reasons(each, detail) {
      return make("ul", { class: "reasons" }, each.codes.map((code, place) => make("li", {},
        make("code", {}, this.told.names.code[code]), " ", make("strong", {}, this.told.meanings[code]),
        detail.details[place] ? [": ", clip(detail.details[place], 300)] : "")));
    },

    facts(each, detail) {
      const facts = [["Photograph", each.source], ["Annotation", detail.annotation || "none"], ["Shape", `${each.shape} (counted from 0)`]];
      facts.push(["Drawn as", detail.kind || "polygon"], ["Category", this.told.names.category[each.category]]);
      return make("dl", {}, facts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, clip(value, 160, { class: "mono" })))));
    },

    vertices(each, detail) {
      const words = detail.points.map(([x, y], place) => `${place * (detail.step || 1)}: ${x ?? "no number"}, ${y ?? "no number"}`).join("   ");
      return make("details", {}, make("summary", {}, `${detail.step ? "Every" : "All"} ${extent(detail).replace(/^every /, "")} (x, y)`), make("div", { class: "vertices" }, words));
    },

    printed(choice) {
      return `Choice: ${choice || "undecided"}`;
    },

    // A card that is shown, as it is after a choice.
    mark(card, choice) {
      card.querySelector(`input[value="${choice || ""}"]`).checked = true;
      card.querySelector(".printed").textContent = this.printed(choice);
    },

    buttons(row, each, outcome) {
      const words = {
        accept: !this.can(row) ? "Accept (nothing to accept)" : outcome === "queued" ? "Accept as proposed" : "Accept as repaired",
        relabel: "Relabel",
        drop: "Drop",
        "": "Undecided",
      };
      const keys = { accept: "a", relabel: "r", drop: "d", "": "u" };
      const options = [...CHOICES, ""].map((choice) => {
        const input = make("input", { type: "radio", name: `choice-${row}`, value: choice, onchange: () => this.choose(row, choice || null) });
        input.checked = (this.choices[row] || "") === choice;
        input.disabled = choice === "accept" && !this.can(row);
        return make("label", {}, input, words[choice], make("kbd", { "aria-hidden": "true" }, keys[choice]));
      });
      const printed = make("p", { class: "printed" }, this.printed(this.choices[row]));
      return make("div", {}, make("fieldset", { class: "choice" }, make("legend", { class: "unseen" }, `What to do with shape ${each.shape} of ${cut(each.source, 160)}`), options), printed);
    },
  };

  // How much of an outline is told: of a very long one only every n-th vertex.
  function extent(detail) {
    return detail.step ? `every ${nth(detail.step)} of ${count(detail.vertices, "vertex", "vertices")}` : count(detail.points.length, "vertex", "vertices");
  }

  // One case's two drawings, which show the same part of the photograph and are brought nearer together.
  class Lens {
    constructor(each, detail, picture) {
      this.detail = detail;
      this.picture = picture;
      this.whole = detail.view;
      this.side = Math.max(this.whole[2], this.whole[3]);
      const near = detail.place ? this.side / 6 : 0;
      this.near = near ? [detail.place[0] - near / 2, detail.place[1] - near / 2, near, near] : null;
      this.drawings = [];
      if (this.near && detail.points.length > 4) {
        this.button = make("button", { type: "button", class: "near", "aria-pressed": "false", onclick: () => this.turn() }, "Look closer at the place ", make("kbd", { "aria-hidden": "true" }, "z"));
      }
    }

    turn() {
      const closer = this.button.getAttribute("aria-pressed") !== "true";
      this.button.setAttribute("aria-pressed", String(closer));
      for (const [drawing, what] of this.drawings) this.render(drawing, what, closer ? this.near : this.whole);
    }

    pair(outcome) {
      const drawn = this.drawing("drawn", `As drawn: ${extent(this.detail)}`);
      const told = { queued: "as Accept would make it", repaired: "as the data set holds it", kept: "as the data set holds it", dropped: "left out; as Accept would make it" }[outcome];
      const made = this.detail.outline
        ? make("figure", {}, this.drawing("made", "As repaired"), make("figcaption", {}, make("strong", {}, outcome === "queued" ? "Proposed" : "Repaired"), `, ${told}`))
        : make("figure", {}, make("div", { class: "nothing" }, make("p", {}, "Nothing can be made of it: draw it again, or drop it.")), make("figcaption", {}, make("strong", {}, "No proposal")));
      const words = [make("strong", {}, "As drawn"), `, ${extent(this.detail)}; numbered as in the file, the ring marks the first${this.detail.place ? ", the cross-hair the place to look at" : ""}`];
      return make("div", { class: "pair" }, make("figure", {}, drawn, make("figcaption", {}, words)), made);
    }

    drawing(what, label) {
      const drawing = draw("svg", { class: "drawing", role: "img", "aria-label": label });
      this.drawings.push([drawing, what]);
      this.render(drawing, what, this.whole);
      return drawing;
    }

    render(drawing, what, view) {
      const [left, top, width, height] = this.whole;
      drawing.setAttribute("viewBox", view.join(" "));
      drawing.setAttribute("width", view[2]);
      drawing.setAttribute("height", view[3]);
      const unit = Math.max(view[2], view[3] * 0.9) / 100;
      const parts = [];
      const place = this.place(unit);
      if (this.picture) parts.push(draw("image", { href: this.picture, x: left, y: top, width, height, preserveAspectRatio: "none" }));
      if (what === "made") parts.push(draw("path", { d: this.detail.outline, class: "made under" }), draw("path", { d: this.detail.outline, class: "made" }));
      parts.push(...place);
      if (what === "drawn") parts.push(...this.drawn(unit, view));
      drawing.replaceChildren(...parts);
    }

    // The outline as it was drawn. Every vertex has its number; a number that would cover an earlier one shows when one is closer.
    drawn(unit, view) {
      const points = this.detail.points.map(([x, y], place) => ({ x, y, place: place * (this.detail.step || 1) })).filter(({ x, y }) => x !== null && y !== null);
      const path = this.path(points);
      const guess = path.guess ? " guess" : "";
      const parts = [draw("path", { d: path.d, class: `shape under${guess}` }), draw("path", { d: path.d, class: `shape${guess}` })];
      if (!points.length) return parts;
      const size = unit * (points.length > 60 ? 2.3 : 3);
      const dot = unit * (points.length > 60 ? 0.55 : 0.85);
      const middle = points.reduce((sum, each) => [sum[0] + each.x / points.length, sum[1] + each.y / points.length], [0, 0]);
      const taken = [];
      const texts = [];
      points.forEach(({ x, y, place }, number) => {
        parts.push(draw("circle", { cx: x, cy: y, r: dot, class: "vertex" }, draw("title", {}, `${place}: ${x}, ${y}`)));
        const at = this.beside(points, number, middle, size, dot);
        const half = [size * (0.34 * String(place).length + 0.12), size * 0.58];
        const seen = at[0] > view[0] && at[1] > view[1] && at[0] < view[0] + view[2] && at[1] < view[1] + view[3];
        const free = seen && taken.every((other) => Math.abs(at[0] - other[0]) > half[0] + other[2] || Math.abs(at[1] - other[1]) > half[1] + other[3]);
        if (free) {
          taken.push([...at, ...half]);
          texts.push(draw("text", { x: at[0], y: at[1], "font-size": size, "stroke-width": size * 0.3 }, String(place)));
        }
      });
      const [first] = points;
      parts.push(draw("circle", { cx: first.x, cy: first.y, r: dot * 2.1, class: "start under" }), draw("circle", { cx: first.x, cy: first.y, r: dot * 2.1, class: "start" }));
      return [...parts, ...texts];
    }

    // Where a vertex's number stands: on the side that the outline does not take, outwards in doubt.
    beside(points, number, middle, size, dot) {
      const here = points[number];
      const before = points[(number + points.length - 1) % points.length];
      const after = points[(number + 1) % points.length];
      const away = (other) => {
        const [x, y] = [here.x - other.x, here.y - other.y];
        const length = Math.hypot(x, y);
        return length ? [x / length, y / length] : [0, 0];
      };
      const [one, two] = [away(before), away(after)];
      let [x, y] = [one[0] + two[0], one[1] + two[1]];
      if (Math.hypot(x, y) < 0.2) {
        [x, y] = [-one[1], one[0]];
        if (x * (here.x - middle[0]) + y * (here.y - middle[1]) < 0) [x, y] = [-x, -y];
      }
      const length = Math.hypot(x, y) || 1;
      const reach = dot + size * 0.75;
      return [here.x + (x / length) * reach, here.y + (y / length) * reach];
    }

    path(points) {
      const kind = this.detail.kind;
      const [a, b] = points;
      if (kind === "circle" && points.length === 2) {
        const r = Math.hypot(b.x - a.x, b.y - a.y);
        return { d: `M${a.x - r} ${a.y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0M${a.x} ${a.y}L${b.x} ${b.y}` };
      }
      if ((kind === "rectangle" || kind === "mask") && points.length === 2) return { d: `M${a.x} ${a.y}H${b.x}V${b.y}H${a.x}z`, guess: kind === "mask" };
      const line = points.map(({ x, y }, place) => `${place ? "L" : "M"}${x} ${y}`).join("");
      if (["polygon", "", "rectangle", "oriented_rectangle"].includes(kind)) return { d: `${line}${points.length > 2 ? "z" : ""}` };
      return { d: line, guess: !["line", "linestrip", "point", "points"].includes(kind) };
    }

    place(unit) {
      if (!this.detail.place) return [];
      const [x, y] = this.detail.place;
      const [r, out] = [unit * 2.2, unit * 5];
      const d = `M${x - out} ${y}H${x - r}M${x + r} ${y}H${x + out}M${x} ${y - out}V${y - r}M${x} ${y + r}V${y + out}M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
      return [draw("path", { d, class: "place under" }), draw("path", { d, class: "place" }, draw("title", {}, `the place to look at: ${x}, ${y}`))];
    }
  }

  // ------------------------------------------------------------------ printing, and where one is on the page

  function startPrinting() {
    let opened = [];
    addEventListener("beforeprint", () => {
      opened = [...document.querySelectorAll("details:not([open])")].filter((each) => !each.closest(".case"));
      for (const each of opened) each.open = true;
      for (const each of document.querySelectorAll("img[loading=lazy]")) each.loading = "eager";
      if (page.queue && queue.shown.length <= MOST_PRINTED) queue.show(false, true);
    });
    addEventListener("afterprint", () => {
      for (const each of opened) each.open = false;
      if (page.queue) queue.show(false);
    });
  }

  // Whoever asks for a section gets it, and keeps it while late parts of the page find their place; until they go on themselves.
  const way = {
    held: null, // the section's id
    top: 0, // where in the window it was put
    changed: () => {},

    hold(id) {
      if (!by(id)) return;
      this.held = id;
      this.settle();
      this.changed();
    },

    settle() {
      by(this.held).scrollIntoView();
      this.top = this.place();
    },

    place() { return by(this.held).getBoundingClientRect().top; },

    leave() {
      if (this.held === null) return;
      this.held = null;
      this.changed();
    },

    start() {
      for (const kind of ["wheel", "touchmove", "pointerdown", "keydown"]) addEventListener(kind, () => this.leave(), { capture: true, passive: true });
      // What else scrolls: the bar at the side, a search in the page.
      addEventListener("scroll", () => { if (this.held !== null && Math.abs(this.place() - this.top) > 4) this.leave(); }, { passive: true });
      document.addEventListener("click", (event) => {
        const link = event.target.closest("a[href^='#']");
        if (!link) this.leave();
        else if (!event.ctrlKey && !event.metaKey && !event.shiftKey) this.hold(link.hash.slice(1));
      }, { capture: true });
      new ResizeObserver(() => { if (this.held !== null) this.settle(); }).observe(by("main"));
    },
  };

  function startContents() {
    const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
    const inside = new Set();
    // The one that was asked for, though it be too short to come to the top; else the first that is there.
    way.changed = () => {
      const current = links.has(way.held) ? way.held : [...links.keys()].find((id) => inside.has(id));
      for (const [id, link] of links) if (id === current) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    };
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) inside.add(entry.target.id); else inside.delete(entry.target.id);
      way.changed();
    }, { rootMargin: "-80px 0px -70% 0px" });
    for (const id of links.keys()) if (by(id)) seen.observe(by(id));
    // A narrow window folds the filters away.
    if (matchMedia("(max-width: 820px)").matches) for (const box of document.querySelectorAll("details.filters")) box.open = false;
  }

  async function followAddress() {
    const told = readAddress();
    if (!told) return;
    if (told.name === "gallery") await gallery.read(told.query);
    else if (page.queue) await queue.read(told.query);
    way.hold(told.name);
  }

  viewer.start();
  gallery.start();
  if (page.queue) queue.start();
  startCopies();
  startPrinting();
  startContents();
  way.start();
  // A page that is loaded again is left where it was.
  if (performance.getEntriesByType("navigation")[0]?.type === "navigate") way.hold(location.hash.slice(1));
  followAddress();
  addEventListener("hashchange", followAddress);
  root.dataset.ready = "true";
})();

"use strict";
// Fetches the changing part of the page and moves the differences into it, so that
// focus, selection and scroll positions stay; sorts and filters; shows values of graphs.
(function () {
  const $ = (id) => document.getElementById(id);
  const two = (n) => String(n).padStart(2, "0");
  document.body.classList.add("scripted");

  // prepare makes times local (UTC is in their title) and takes over the titles of
  // graphs, which browsers show late and without colours.
  function prepare(root) {
    for (const t of root.querySelectorAll("time.clock, time.minute")) {
      const d = new Date(t.dateTime);
      t.textContent = two(d.getHours()) + ":" + two(d.getMinutes()) + (t.className === "clock" ? ":" + two(d.getSeconds()) : "");
    }
    for (const t of root.querySelectorAll(".plot title")) {
      if (t.parentNode.classList.contains("kill")) { t.parentNode.dataset.title = t.textContent; }
      t.remove();
    }
    root.querySelectorAll("rect.col").forEach((r) => r.remove());
  }

  const key = (n) => (n && n.nodeType === 1 && n.dataset.key) || "";

  // morph makes old equal to fresh with as few changes as it can.
  function morph(old, fresh) {
    if (old.nodeType === 3) {
      if (old.data !== fresh.data) { old.data = fresh.data; }
      return;
    }
    if (old.nodeType !== 1) { return; }
    const alarm = old.nodeName === "DETAILS" && fresh.hasAttribute("open") && old.dataset.alarm !== "1";
    for (const a of [...old.attributes]) {
      if (!fresh.hasAttribute(a.name) && a.name !== "open" && a.name !== "data-alarm") { old.removeAttribute(a.name); }
    }
    for (const a of fresh.attributes) {
      if (a.name !== "open" && old.getAttribute(a.name) !== a.value) { old.setAttribute(a.name, a.value); }
    }
    if (old.nodeName === "DETAILS") {
      if (alarm) { old.open = true; }
      old.dataset.alarm = fresh.hasAttribute("open") ? "1" : "";
    }
    if (old.id === "filter" || old.id === "link" || old.id === "count") { return; }
    const keep = new Set([...fresh.children].map(key).filter(Boolean));
    const known = new Map();
    for (const c of [...old.children]) {
      if (!key(c)) { continue; }
      if (!keep.has(key(c)) || known.has(key(c))) { c.remove(); } else { known.set(key(c), c); }
    }
    let at = old.firstChild;
    for (const want of [...fresh.childNodes]) {
      const k = key(want);
      let have = k ? known.get(k) : at;
      known.delete(k);
      if (!k && have && (key(have) || have.nodeName !== want.nodeName || have.id !== want.id)) { have = null; }
      if (!have) {
        old.insertBefore(want, at);
        continue;
      }
      // One row that went down is moved, not all that it passed.
      while (at && at !== have && nextKeyed(at) === have && key(at)) {
        const down = at;
        at = at.nextSibling;
        old.appendChild(down);
        while (at && at !== have && !key(at)) { at = at.nextSibling; }
      }
      if (have === at) { at = at.nextSibling; } else { old.insertBefore(have, at); }
      morph(have, want);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }
  function nextKeyed(n) {
    do { n = n.nextSibling; } while (n && !key(n));
    return n;
  }

  // Sorting and filtering, by the rules of the server.
  const params = () => new URLSearchParams(location.search);
  function reorder() {
    const body = document.querySelector("#containers tbody");
    if (!body) { return; }
    const p = params(), column = [...document.querySelectorAll("#containers thead th[data-key]")].findIndex((h) => h.dataset.key === p.get("sort"));
    const number = column >= 0 && document.querySelectorAll("#containers thead th")[column].classList.contains("num");
    const way = p.get("order") === "asc" ? 1 : p.get("order") === "desc" || number ? -1 : 1;
    const value = (r) => {
      if (column === 0) { return r.cells[0].querySelector(".name").textContent.toLowerCase(); }
      const v = r.cells[column].dataset.v;
      return v === undefined || v === "" ? null : number ? Number(v) : v;
    };
    const rows = [...body.rows].sort((a, b) => {
      if (column >= 0) {
        const x = value(a), y = value(b);
        if (x !== y) {
          if (x === null || y === null) { return x === null ? 1 : -1; }
          return x < y ? -way : way;
        }
      }
      return a.dataset.i - b.dataset.i;
    });
    if (rows.some((r, i) => body.rows[i] !== r)) { body.append(...rows); }
  }
  function filter() {
    const body = document.querySelector("#containers tbody");
    if (!body) { return; }
    const text = $("filter").elements.q.value.trim().toLowerCase(), show = $("filter").elements.show.value;
    let n = 0;
    for (const r of body.rows) {
      const name = r.cells[0].querySelector(".name").textContent + " " + r.cells[0].querySelector(".id").textContent.replace(" · ", " ");
      r.hidden = !name.toLowerCase().includes(text) || (show !== "" && !r.dataset.is.split(" ").includes(show));
      n += r.hidden ? 0 : 1;
    }
    const count = n === body.rows.length ? String(n) : n + " of " + body.rows.length;
    if ($("count").textContent !== count) { $("count").textContent = count; }
  }
  function go(p) {
    history.replaceState(null, "", p.size ? "?" + p : location.pathname);
    look.tag = "";
  }
  addEventListener("click", (e) => {
    const a = e.target.closest("#containers thead a");
    if (!a || e.ctrlKey || e.metaKey || e.shiftKey) { return; }
    e.preventDefault();
    const p = new URLSearchParams(a.search);
    go(p);
    reorder();
    look();
  });
  addEventListener("input", (e) => {
    if (!e.target.closest("#filter")) { return; }
    const p = params();
    for (const name of ["q", "show"]) {
      const v = $("filter").elements[name].value;
      if (v) { p.set(name, v); } else { p.delete(name); }
    }
    go(p);
    filter();
  });
  addEventListener("submit", (e) => { if (e.target.id === "filter") { e.preventDefault(); } });

  // The values below a pointer.
  const tip = $("tip");
  const make = (name, text, className) => {
    const e = document.createElement(name);
    e.textContent = text;
    if (className) { e.className = className; }
    return e;
  };
  let below = null; // the last plot and place that a pointer was over
  function hide() {
    below = null;
    tip.hidden = true;
    document.querySelectorAll(".cross").forEach((c) => c.remove());
  }
  function point(plot, x, y) {
    const box = plot.getBoundingClientRect();
    const rows = [...plot.closest(".graph").querySelectorAll("tr[data-values]")];
    const values = rows.map((r) => r.dataset.values.split(","));
    const n = values[0].length - 1;
    const i = Math.max(0, Math.min(n, Math.round((x - box.left) / box.width * n)));
    const d = new Date(Date.parse(plot.dataset.start) + i * plot.dataset.step * 1000);
    tip.replaceChildren(make("div", two(d.getHours()) + ":" + two(d.getMinutes()) + ":" + two(d.getSeconds())));
    rows.map((r, k) => [r, values[k][i]]).filter((v) => v[1] !== "").sort((a, b) => b[1] - a[1]).forEach(([r, v]) => {
      const line = make("div", "");
      line.append(r.querySelector(".swatch").cloneNode(true), make("span", r.querySelector("bdi").textContent), make("b", Number(v).toFixed(v >= 10 ? 1 : 2) + " %"));
      tip.append(line);
    });
    for (const k of plot.querySelectorAll(".kill")) {
      if (Math.abs(k.dataset.x - i) <= 0.75) { tip.append(make("div", k.dataset.title.replace(/^[\d:]+ UTC, /, ""), "killed")); }
    }
    document.querySelectorAll(".cross").forEach((c) => c.remove());
    const cross = document.createElementNS(plot.firstElementChild.namespaceURI, "path");
    cross.setAttribute("class", "cross");
    cross.setAttribute("d", "M" + i + " 0V100");
    plot.firstElementChild.append(cross);
    tip.hidden = false;
    const right = x + 16 + tip.offsetWidth > innerWidth;
    tip.style.left = Math.max(4, right ? x - 16 - tip.offsetWidth : x + 16) + "px";
    tip.style.top = Math.max(4, Math.min(y + 12, innerHeight - tip.offsetHeight - 4)) + "px";
  }
  addEventListener("pointermove", (e) => {
    const plot = e.target.closest && e.target.closest(".plot[data-start]");
    if (plot) {
      below = [plot, e.clientX, e.clientY];
      point(...below);
    } else if (!tip.hidden) { hide(); }
  });
  document.addEventListener("pointerleave", hide);
  addEventListener("scroll", hide, {passive: true});

  // The refresh.
  function say(ok) {
    const text = ok ? "" : "no connection";
    if ($("link").textContent !== text) { $("link").textContent = text; }
  }
  function take(text) {
    const page = new DOMParser().parseFromString(text, "text/html");
    const fresh = page.getElementById("live");
    if (!fresh) { throw new Error("no page"); }
    prepare(fresh);
    const active = document.activeElement;
    morph($("live"), document.adoptNode(fresh));
    reorder();
    filter();
    if (below && below[0].isConnected) { point(...below); } else { hide(); }
    if (active && active !== document.activeElement && active.isConnected) { active.focus({preventScroll: true}); }
  }
  let timer, busy = false;
  function look() {
    clearTimeout(timer);
    if (busy) {
      timer = setTimeout(look, 100);
      return;
    }
    busy = true;
    const search = location.search;
    fetch("live" + search, {cache: "no-store", headers: look.tag ? {"If-None-Match": look.tag} : {}}).then((r) => {
      if (r.status === 304) { return null; }
      if (!r.ok) { throw new Error("status " + r.status); }
      return r.text().then((text) => {
        if (search === location.search) {
          take(text);
          look.tag = r.headers.get("ETag") || "";
        }
      });
    }).then(() => say(true), () => say(false)).then(() => {
      busy = false;
      timer = setTimeout(look, document.hidden ? 10000 : 2000);
    });
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { look(); } });

  prepare(document);
  document.querySelectorAll("details").forEach((d) => { d.dataset.alarm = d.open ? "1" : ""; });
  timer = setTimeout(look, 1000);
})();

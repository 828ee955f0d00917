// Keys, files and the strip: what a page of buttons cannot do by itself. Everything ends in one command by name.
(() => {
  "use strict";
  const command = (...words) => window.trame?.trigger("command", words);
  const byId = (id) => document.getElementById(id);
  const state = (name) => window.trame?.state?.get(name);

  // --- files

  let said = { text: "", isError: false };
  let place = null;

  const show = () => {
    place = byId("transfer");
    if (place) {
      place.textContent = said.text;
      place.classList.toggle("error", said.isError);
    }
  };

  const note = (text, isError = false) => {
    said = { text, isError };
    show();
  };

  // trame makes the whole page anew when its layout changes; what was said stays
  new MutationObserver(() => { if (byId("transfer") !== place) show(); }).observe(document, { childList: true, subtree: true });

  // what went wrong is read by now
  document.addEventListener("pointerdown", () => { if (said.isError) note(""); }, true);
  document.addEventListener("note", (event) => note(...event.detail));

  const answer = (request) => {
    try {
      return JSON.parse(request.responseText);
    } catch {
      return { error: request.status === 413 ? "The upload is too large." : "The server did not answer as expected." };
    }
  };

  let sending = null;
  // The server may ask before it opens a file; the file is then sent again, with the answer.
  const answered = ({ question, text }) => {
    const first = { time_point: "0", series: "1" }[question];
    const said = first ? window.prompt(text, first) : window.confirm(text);
    if (question === "kind") return { kind: said ? "segments" : "scan" };
    if (said === null || said === false) return null;
    return { [question]: question === "replace" ? "yes" : said.trim() };
  };

  const send = (files, answers = {}) => {
    if (!files.length || sending) return;
    if (files.reduce((sum, file) => sum + file.size, 0) > state("upload_bytes")) {
      note(`This is larger than ${state("upload_limit")}, which is the limit here.`, true);
      return;
    }
    const form = new FormData();
    for (const file of files) form.append("file", file, file.webkitRelativePath || file.name);
    const request = new XMLHttpRequest();
    sending = request;
    request.upload.onprogress = (event) => {
      const percent = event.total ? Math.floor((100 * event.loaded) / event.total) : 0;
      note(percent < 100 ? `Sending… ${percent} %` : "Reading the file…");
    };
    let again = null;
    request.onload = () => {
      const { message, error, question, text } = answer(request);
      if (question) again = answered({ question, text });
      if (question && !again) note("Nothing was opened.");
      else if (!question) note(error || message || "", Boolean(error));
    };
    request.onerror = () => note("The upload was interrupted; choose the file again.", true);
    request.onloadend = () => {
      sending = null;
      if (again) send(files, { ...answers, ...again });
    };
    request.open("POST", `upload?${new URLSearchParams(answers)}`);
    note("Sending…");
    request.send(form);
  };

  const choose = (folder) => {
    const input = document.createElement("input");
    input.type = "file";
    input.multiple = true;
    input.webkitdirectory = folder;
    input.id = "chooser";
    input.hidden = true;
    input.onchange = () => { send([...input.files]); input.remove(); };
    document.querySelector("#chooser")?.remove();
    document.body.append(input);
    input.click();
  };

  const download = async (kind) => {
    note("Preparing the file…");
    try {
      const response = await fetch(`download/${kind}`);
      if (!response.ok) {
        note((await response.json()).error, true);
        return;
      }
      const name = decodeURIComponent(response.headers.get("Content-Disposition").split("''")[1]);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await response.blob());
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
      note(`${name} was saved.`);
    } catch {
      note("The file could not be fetched; try again.", true);
    }
  };

  const openSample = async (answers = {}) => {
    note("Opening the sample…");
    const response = await fetch(`sample?${new URLSearchParams(answers)}`, { method: "POST" });
    const { question, text } = response.ok ? await response.json() : {};
    const again = question && answered({ question, text });
    if (again) await openSample(again);
    else if (question) note("Nothing was opened.");
    else note(response.ok ? "" : "The sample cannot be opened.", !response.ok);
  };

  const endSession = async () => {
    if (!window.confirm("End the session? The scan, segments and prompts are removed from the server. Save first what you need.")) return;
    await fetch("end", { method: "POST" });
    window.location.assign("ended");
  };

  const help = () => byId("help")?.showModal();
  const actions = {
    "open-files": () => choose(false),
    "open-folder": () => choose(true),
    "open-sample": () => openSample(),
    // the numbers of a label map mean nothing without their names
    download: async ({ dataset: { kind } }) => {
      await download(kind);
      if (kind === "nifti") await download("labels");
    },
    help,
    end: endSession,
  };
  document.addEventListener("click", (event) => {
    const element = event.target.closest?.("[data-action]");
    if (element) actions[element.dataset.action](element);
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    send([...event.dataTransfer.files]);
  });

  // --- confidence strip

  const stripSlice = (event) => {
    const strip = event.target.closest?.(".strip");
    const bars = strip?.querySelectorAll("[data-slice]");
    if (!bars?.length) return;
    const box = strip.getBoundingClientRect();
    const part = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 0.9999);
    command("jump", Number(bars[Math.floor(part * bars.length)].dataset.slice));
  };
  document.addEventListener("pointerdown", stripSlice);
  document.addEventListener("pointermove", (event) => { if (event.buttons === 1) stripSlice(event); });

  // --- keys

  const views = ["Red", "Yellow", "Green"];
  const windowBy = (width, level) => {
    const step = Math.max(Number(state("window_width")) / 10, 1e-6);
    command("window", Number(state("window_width")) + width * step, Number(state("window_level")) + level * step);
  };
  const anywhere = {
    p: () => command("tool", "point"),
    x: () => command("tool", "box"),
    o: () => command("tool", "roi"),
    l: () => command("tool", "line"),
    d: () => command("tool", "scribble"),
    e: () => command("tool", "lasso"),
    c: () => command("tool", "navigate"),
    w: () => command("tool", "window"),
    t: () => command("tool", "paint"),
    v: () => command("tool", "erase"),
    r: () => command("tool", "ruler"),
    n: () => command("toggle_include"),
    k: () => command("toggle_each"),
    m: () => command("propagate"),
    u: () => command("weakest"),
    a: () => command("add_segment"),
    s: () => command("next_segment"),
    h: () => command("toggle_masks"),
    b: () => command("use_segment"),
    0: () => command("fit"),
    "[": () => windowBy(-1, 0),
    "]": () => windowBy(1, 0),
    ",": () => windowBy(0, -1),
    ".": () => windowBy(0, 1),
    Delete: () => command("remove_segment"),
    Escape: () => command("discard"),
    F1: help,
    "?": help,
    F2: () => document.querySelector("tr.selected input.name")?.select(),
    ...Object.fromEntries(views.map((tag, n) => [n + 1, () => document.querySelector(`[data-view=${tag}]`)?.focus()])),
  };
  const withCtrl = {
    z: (event) => command(event.shiftKey ? "redo" : "undo"),
    y: () => command("redo"),
    s: () => download("segmentation"),
    o: (event) => choose(event.shiftKey),
  };
  const moves = { ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0], PageUp: [0, 0, 1], PageDown: [0, 0, -1] };

  const inView = (tag, event) => {
    if (moves[event.key] && tag !== "ThreeD") {
      const by = event.shiftKey && !event.key.startsWith("Page") ? 10 : 1;
      command("step", tag, ...moves[event.key].map((count) => by * count));
      return true;
    }
    if (event.key === "Enter" && tag !== "ThreeD") {
      command("place", tag);
      return true;
    }
    if (event.key.toLowerCase() === "f") {
      command("layout", tag);
      return true;
    }
    return false;
  };

  const inStrip = (event) => {
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    const [first, last] = state("strip_range") || [0, 0];
    if (step) command("jump", Number(state("strip_current")) + step);
    else if (event.key === "Home") command("jump", first);
    else if (event.key === "End") command("jump", last);
    else return false;
    return true;
  };

  const pressed = (event) => {
    const focused = document.activeElement;
    const isText = focused?.matches?.("input:not([type=checkbox]):not([type=range]):not([type=color]), select, textarea");
    if (byId("help")?.open || event.altKey) return false;
    if (event.ctrlKey || event.metaKey) {
      const action = withCtrl[event.key.toLowerCase()];
      if (!action || (isText && "zy".includes(event.key.toLowerCase()))) return false;
      action(event);
      return true;
    }
    if (isText) {
      if (event.key === "Escape" || event.key === "Enter") focused.blur();
      return false;
    }
    const tag = focused?.closest?.("[data-view]")?.dataset.view;
    if (tag && inView(tag, event)) return true;
    if (focused?.matches?.(".strip") && inStrip(event)) return true;
    const tool = focused?.matches?.("[role=radio]") && { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" }[event.key];
    if (tool) {
      focused[tool]?.focus();
      focused[tool]?.click();
      return true;
    }
    if (event.key === "Enter" && !focused?.matches?.("button, a, input")) {
      command("commit");
      return true;
    }
    // Views are made anew when one is enlarged, and the focus may be lost with the old one: F still leads back.
    if (event.key.toLowerCase() === "f" && [...views, "ThreeD"].includes(state("layout"))) {
      command("layout", state("layout"));
      return true;
    }
    const action = anywhere[event.key] || anywhere[event.key.toLowerCase()];
    if (!action || (event.repeat && event.key.length === 1 && !"[],.".includes(event.key))) return false;
    action();
    return true;
  };

  // Captured before the pictures get it: their keys are Slicer's, and would be a second set.
  window.addEventListener("keydown", (event) => {
    const used = pressed(event);
    if (used) event.preventDefault();
    if (used || !document.activeElement?.matches?.("input, select, textarea, button, dialog *")) event.stopPropagation();
  }, true);
  window.addEventListener("keyup", (event) => {
    if (document.activeElement?.closest?.("[data-view]")) event.stopPropagation();
  }, true);
  // A click into a picture moves the keyboard's focus there, too.
  window.addEventListener("pointerdown", (event) => event.target.closest?.("[data-view]")?.focus({ preventScroll: true }), true);
  window.addEventListener("contextmenu", (event) => { if (event.target.closest?.("[data-view]")) event.preventDefault(); });

  document.documentElement.lang = "en";
})();

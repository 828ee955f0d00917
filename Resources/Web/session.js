// The session: one window at a time, a server that does not answer, and what is kept of the work.
(() => {
  "use strict";
  const state = (name) => window.trame?.state?.get(name);
  const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

  // --- one window at a time: the server draws the views in the size of the window that came last

  const me = `${Date.now()}-${Math.random()}`;
  let isKnown = false; // whether the server's name for the window has been this one's; until then it is an older one's
  const leaveFor = (active) => {
    if (active === me) isKnown = true;
    else if (active && isKnown) window.location.assign("elsewhere");
  };
  const takeOver = async () => {
    while (!window.trame?.trigger) await pause(20);
    window.trame.state.watch(["window_id"], leaveFor);
    await window.trame.trigger("take_over", [me]);
    // what is set once has room in a tall window
    if (window.innerHeight >= 900) window.trame.state.set("more_open", true);
    isKnown = true;
  };

  // --- a server that does not answer

  const quietMs = 4000;
  let askedAt = 0;
  const shownQuiet = (ms) => {
    let place = document.getElementById("stalled");
    if (!place) {
      place = document.createElement("div");
      place.id = "stalled";
      place.setAttribute("role", "alert");
      document.body.append(place);
    }
    const text = "The server has not answered for $ seconds. It may be busy: what you do now is done when it answers.";
    const shown = ms > quietMs ? text.replace("$", Math.round(ms / 1000)) : "";
    if (place.textContent !== shown) place.textContent = shown;
  };
  const beat = async () => {
    if (document.querySelector(".lost")) askedAt = 0;
    if (askedAt) {
      shownQuiet(Date.now() - askedAt);
      return;
    }
    shownQuiet(0);
    if (!window.trame?.trigger || document.querySelector(".lost")) return;
    askedAt = Date.now();
    try {
      leaveFor(await window.trame.trigger("beat"));
    } catch { /* the connection is lost, which is seen below */ }
    askedAt = 0;
    shownQuiet(0);
  };

  // --- a connection that is lost

  const keptTexts = {
    kept: "All your work is kept on the server",
    soon: "Your last changes may be lost; what you did before is kept on the server",
    failed: "Your last changes could not be kept on the server",
  };
  const noAnswer = () => {
    const kept = keptTexts[state("kept")];
    const until = state("kept_at") ? `, as it was at ${state("kept_at")}` : "";
    return "The server does not answer. Connecting again… "
      + (kept ? `${kept}${until}. If the server was stopped, it can be gone on with when it is started again in time.`
        : "If the server was stopped, this session has ended with it; there was nothing to keep.");
  };
  let asking = false;
  const reconnect = async () => {
    const lost = document.querySelector(".lost");
    if (!lost || asking) return;
    asking = true;
    try {
      const response = await fetch("alive", { cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (response.ok) window.location.reload();
      else if (response.status === 410) window.location.assign("ended");
      else if (response.status === 401) window.location.assign("./");
    } catch {
      lost.querySelector("p").textContent = noAnswer();
    } finally {
      asking = false;
    }
  };
  setInterval(beat, 1000);
  setInterval(reconnect, 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) beat(); });

  // --- scans that were open before

  const note = (text, isError = false) => document.dispatchEvent(new CustomEvent("note", { detail: [text, isError] }));
  document.addEventListener("change", async (event) => {
    const choice = event.target.closest?.("[data-choice=earlier]");
    if (!choice?.value) return;
    const key = choice.value;
    choice.value = "";
    choice.blur();
    note("Opening the scan…");
    try {
      const response = await fetch(`earlier?${new URLSearchParams({ key })}`, { method: "POST" });
      const { message, error } = await response.json();
      note(error || message, Boolean(error));
    } catch {
      note("The server did not answer; try again.", true);
    }
  });
  takeOver();
})();

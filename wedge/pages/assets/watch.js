// The page of a running fit: it asks for the state again and again, and for pictures only when there are new ones.
"use strict";

var Wedge = window.Wedge || {};

Wedge.LONGEST_SILENCE_MS = 60_000; // the server answers within half of it
Wedge.LONGEST_PICTURE_MS = 1_200_000; // over a line that is slow
Wedge.FINAL_STATES = ["ended", "failed", "interrupted"];

Wedge.Watch = class {
  constructor() {
    this.shown = {}; // versions of what is on the page
    this.tag = null;
    this.state = null;
    this.heard = null; // when the server last answered
    this.failures = 0;
    this.scene = this.slices = this.spectrum = this.chart = null;
    new Wedge.ThemeSwitch(this.at("theme"));
    this.poll();
  }

  at(id) {
    return document.getElementById(id);
  }

  async poll() {
    for (;;) {
      const begun = performance.now();
      try {
        await this.ask();
        this.failures = 0;
      } catch (error) {
        this.failures += 1;
        this.lose();
      }
      if (this.state?.closing) {
        // The last answer of this server: what the fit did since then, it can't tell.
        if (!Wedge.FINAL_STATES.includes(this.state.state)) this.lose();
        return;
      }
      // The server answers when there is something new: no sooner than twice a second, and patiently where it is gone.
      const pause = this.failures ? Math.min(10_000, 1000 * 2 ** this.failures) : Math.max(50, 500 - (performance.now() - begun));
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  async ask() {
    const headers = this.tag ? { "If-None-Match": this.tag } : {};
    const wait = this.tag && !this.failures ? 20 : 0;
    // A tunnel whose machine went away is silent for ever.
    const signal = AbortSignal.timeout(Wedge.LONGEST_SILENCE_MS);
    const answer = await fetch(`state?wait=${wait}`, { headers, signal, cache: "no-store", credentials: "omit" });
    if (answer.status !== 304 && !answer.ok) throw new Error(`the server answered ${answer.status}`);
    this.heard = new Date();
    if (answer.status === 304) {
      if (this.failures) this.write();
      return;
    }
    this.state = await answer.json();
    this.tag = answer.headers.get("ETag");
    this.failures = 0;
    this.write();
    await this.refresh();
  }

  // The server does not answer: the last state stays on the page.
  lose() {
    const ended = Wedge.FINAL_STATES.includes(this.state?.state);
    const last = this.heard ? `; the last state, of ${this.heard.toLocaleTimeString()}, stays here` : "";
    const why = ended ? "the fit has ended, and its server with it" : "its process has ended, or the tunnel to it is closed";
    this.banner(`No answer from the server: ${why}${last}.`);
    if (ended) return;
    this.badge("lost");
    document.title = `connection lost · ${this.state?.title || "wedge"}`;
  }

  banner(text) {
    this.at("banner").textContent = text;
    this.at("banner").hidden = !text;
  }

  badge(state) {
    const badge = this.at("badge");
    badge.dataset.state = state;
    const text = Wedge.STATE_NAMES[state] || state;
    if (badge.textContent !== text) badge.textContent = text;
  }

  write() {
    const state = this.state;
    document.title = Wedge.pageTitle(state);
    this.at("title").textContent = state.title || "run";
    this.badge(state.state);
    this.banner(state.error && state.state !== "ended" ? state.error : "");
    this.writeProgress(state);
    const closing = state.closing && state.state === "ended" ? ` This page was served by the fit; wedge watch ${state.title} shows the result.` : "";
    this.at("text").textContent = state.text ? `${state.text[0].toUpperCase()}${state.text.slice(1)}.${closing}` : closing;
    this.at("resume").hidden = !state.resume;
    this.at("resume").querySelector("code").textContent = state.resume || "";
    const notes = [...(state.notes || []), ...(state.missing || []).map((line) => `Not here: ${line}`), state.note, state.picture].filter(Boolean);
    this.at("notes").hidden = !notes.length;
    Wedge.writeList(this.at("notes"), notes);
    Wedge.writeFacts(this.at("facts"), state);
    this.at("said-panel").hidden = !state.said?.length;
    Wedge.writeList(this.at("said"), state.said || []);
    const what = this.at("what");
    if (state.versions?.preview) what.textContent = state.result && !state.preview_of_fit ? "Shown: the result." : `Shown: ${state.preview?.what || "the fit"}.`;
    what.hidden = ["ended", "missing"].includes(state.state) && !state.versions?.preview;
  }

  writeProgress(state) {
    const stage = Wedge.stageText(state);
    const part = Wedge.fraction(state);
    const percent = part === null || state.state === "preparing" ? "" : `${(100 * part).toFixed(1)} %`;
    this.at("stage").textContent = [percent, stage].filter(Boolean).join(" · ");
    const bar = this.at("bar");
    if (part === null) bar.removeAttribute("value");
    else bar.value = part;
    this.at("progress-panel").hidden = !state.progress && !stage;
    bar.hidden = part === null && !["running", "preparing"].includes(state.state);
  }

  async refresh() {
    const versions = this.state.versions || {};
    const jobs = { preview: (answer) => this.showPreview(answer), spectrum: (answer) => this.showSpectrum(answer), curves: (answer) => this.showCurves(answer) };
    for (const [name, show] of Object.entries(jobs)) {
      if (!versions[name] || versions[name] === this.shown[name]) continue;
      const signal = AbortSignal.timeout(Wedge.LONGEST_PICTURE_MS);
      const answer = await fetch(name, { signal, cache: "no-store", credentials: "omit" });
      if (!answer.ok) continue; // replaced or damaged meanwhile: the next state says which it is
      try {
        await show(answer);
        this.shown[name] = versions[name];
      } catch (error) {
        this.banner(`The ${name} cannot be shown: ${error.message}`);
      }
    }
  }

  async showPreview(answer) {
    const preview = Wedge.decodePreview(await answer.arrayBuffer());
    this.at("pictures").hidden = false;
    // Made once: camera, cursor and contrast belong to who looks.
    this.slices ??= new Wedge.Slices(this.at("slices"), { label: "the fit" });
    this.scene ??= new Wedge.Scene(this.at("scene"), { label: "The fit" });
    this.slices.show(preview);
    this.scene.show(preview);
  }

  async showSpectrum(answer) {
    const spectrum = Wedge.decodeSpectrum(await answer.json());
    this.at("spectrum-panel").hidden = false;
    const range = spectrum.tiltRangeDeg;
    this.at("spectrum-what").textContent = `Log power across the tilt axis${range ? "; between the lines, around kz, nothing was measured" : ""}.`;
    this.spectrum ??= new Wedge.Spectrum(this.at("spectrum"), { label: "the fit" });
    this.spectrum.show(spectrum);
  }

  async showCurves(answer) {
    const curves = await answer.json();
    const names = { loss: ["loss", "line"], data: ["data term", "dashed"], held_out: ["held-out error", "points"] };
    const series = Object.entries(names)
      .filter(([name]) => curves[name]?.[0]?.length)
      .map(([name, [title, style]]) => ({ name: title, x: curves[name][0], y: curves[name][1], style }));
    if (!series.length) return;
    this.at("curves-panel").hidden = false;
    const yLog = series.every((each) => each.y.every((value) => value === null || value > 0));
    if (this.chart && this.chart.options.yLog !== yLog) {
      this.chart.destroy();
      this.chart = null;
    }
    this.chart ??= new Wedge.Chart(this.at("curves"), { title: "Loss and error", xLabel: "step", yLabel: "loss", yLog });
    this.chart.show(series);
  }
};

document.addEventListener("DOMContentLoaded", () => {
  Wedge.watch = new Wedge.Watch();
});

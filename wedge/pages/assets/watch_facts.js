// The numbers and words of a run's page, from the state that the server sends.
"use strict";

var Wedge = window.Wedge || {};

Wedge.STATE_NAMES = {
  preparing: "preparing", running: "running", ended: "ended", failed: "failed", interrupted: "interrupted", stalled: "stalled",
  waiting: "waiting for a sign of life", gone: "gone", unobserved: "not watched", volume: "volume", missing: "missing", lost: "connection lost",
};

// 3725 -> "1 h 2 min", 75 -> "1 min 15 s".
Wedge.duration = function (seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  if (hours >= 48) return `${Math.floor(hours / 24)} days ${hours % 24} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
};

Wedge.bytes = function (count) {
  if (!Number.isFinite(count)) return "";
  return count >= 2 ** 30 ? `${(count / 2 ** 30).toFixed(2)} GiB` : `${Math.round(count / 2 ** 20)} MiB`;
};

// Done work between 0 and 1, or null where nobody knows.
Wedge.fraction = function (state) {
  const [done, total] = state.progress || [0, 0];
  return total > 0 ? Math.min(1, done / total) : null;
};

Wedge.pageTitle = function (state) {
  const name = state.title || "run";
  const part = Wedge.fraction(state);
  const percent = part === null ? "" : `${Math.floor(100 * part)} % · `;
  if (state.state === "running") return `${percent}${name} · wedge`;
  if (state.state === "volume") return `${name} · wedge`;
  return `${Wedge.STATE_NAMES[state.state] || state.state} · ${name} · wedge`;
};

Wedge.stageText = function (state) {
  const [name, done, total] = state.stage || ["", 0, 0];
  const prefix = !state.num_steps && name && state.state !== "ended" ? "preparing: " : "";
  const count = total > 0 && done <= total ? `, ${done} of ${total}` : done > 0 ? `, ${done} done` : "";
  return name ? `${prefix}${name}${count}` : "";
};

// [[label, text, wide?]]: what is known and nothing else.
Wedge.factsOf = function (state) {
  const number = (value) => (Number.isFinite(value) ? value.toPrecision(4) : "");
  const scalars = state.scalars || {};
  const facts = state.facts || {};
  const device = state.device_bytes === undefined ? "" : `, ${Wedge.bytes(state.device_bytes)} on the GPU`;
  const running = state.state === "running";
  const rows = [
    [state.method === "adaptive" ? "rows solved" : "step", state.num_steps ? `${state.step} of ${state.num_steps}` : state.step],
    ["time so far", Wedge.duration(state.seconds)],
    ["time left", running && state.seconds_left !== null ? `about ${Wedge.duration(state.seconds_left)}` : ""],
    ["loss", number(scalars.loss)],
    ["held-out error", number(scalars.held_out)],
    ["method", state.method],
    ["memory", state.resident_bytes ? `${Wedge.bytes(state.resident_bytes)}${device}` : ""],
    ["device", [state.device, state.host && `on ${state.host}`].filter(Boolean).join(" ")],
    ["quiet for", running && state.quiet_seconds > 30 ? Wedge.duration(state.quiet_seconds) : ""],
    ["shape", facts.shape ? `${facts.shape.join(" × ")} (z, y, x)` : ""],
    ["voxel size", facts.voxel_size_angstrom ? `${facts.voxel_size_angstrom} Å` : ""],
    ["watching took", state.watching_seconds > 0 ? `${state.watching_seconds.toFixed(1)} s of the fit's process` : ""],
    ["command", (state.command || facts.command || []).join(" "), true],
  ];
  return rows.filter(([, text]) => text !== undefined && text !== null && text !== "" && text !== "about ");
};

Wedge.writeFacts = function (list, state) {
  const facts = Wedge.factsOf(state);
  const labels = facts.map(([label]) => label).join("|");
  if (list.dataset.labels === labels) {
    // Text by text: what a reader has marked to copy stays marked.
    [...list.querySelectorAll("dd")].forEach((value, i) => {
      const text = String(facts[i][1]);
      if (value.textContent !== text) (value.querySelector("code") || value).textContent = text;
    });
    return;
  }
  list.dataset.labels = labels;
  const rows = facts.map(([label, text, wide]) => {
    const row = document.createElement("div");
    if (wide) row.className = "wide";
    const term = row.appendChild(document.createElement("dt"));
    term.textContent = label;
    const value = row.appendChild(document.createElement("dd"));
    if (wide) value.appendChild(document.createElement("code")).textContent = text;
    else value.textContent = text;
    return row;
  });
  list.replaceChildren(...rows);
};

Wedge.writeList = function (list, lines) {
  if (list.childElementCount === lines.length && [...list.children].every((item, i) => item.textContent === lines[i])) return;
  list.replaceChildren(
    ...lines.map((line) => {
      const item = document.createElement("li");
      item.textContent = line;
      return item;
    }),
  );
};

// The message of wedge.pages.spectrum as Wedge.Spectrum takes it.
Wedge.decodeSpectrum = function (message) {
  const codes = Uint8Array.from(atob(message.codes), (letter) => letter.charCodeAt(0));
  return { shape: message.shape, codes, low: message.low, high: message.high, tiltRangeDeg: message.tilt_range_deg };
};

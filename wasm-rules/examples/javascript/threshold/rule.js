// A threshold rule in JavaScript: compares metrics with warning and alert levels, and reports metrics that are missing.
// A level may be left at another value than it is entered at (hysteresis), so that an alert does not flap.

/**
 * @typedef {"ok" | "unknown" | "warning" | "alert"} Severity
 * @typedef {{ name: string, value: string }} Label
 * @typedef {{ metric: string, labels: Label[] }} Subject
 * @typedef {{ labels: Label[], value: number, timeMs: bigint }} Sample
 * @typedef {{ name: string, unit: string, samples: Sample[] }} Metric
 * @typedef {{ source: string, metrics: string[], reason: string }} Gap
 * @typedef {{ subject: Subject, severity: Severity, value?: number, limit?: number, message: string }} Finding
 * @typedef {{ host: string, timeMs: bigint, facts: Label[], metrics: Metric[], gaps: Gap[], last: Finding[] }} Round
 *
 * @typedef {{ enter: number, clear: number }} Level Where it begins to be bad, and where it is good again.
 * @typedef {{ metric: string, direction: "above" | "below", warning?: Level, alert?: Level, missing: Severity }} Threshold
 */

const LEVEL = {
  description: "A number, or a number to enter the level at and another to leave it at (hysteresis).",
  oneOf: [
    { type: "number" },
    {
      type: "object",
      additionalProperties: false,
      required: ["enter", "clear"],
      properties: { enter: { type: "number" }, clear: { type: "number" } },
    },
  ],
};
const SCHEMA = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  additionalProperties: false,
  properties: {
    thresholds: {
      type: "array",
      items: {
        type: "object",
        additionalProperties: false,
        required: ["metric"],
        anyOf: [{ required: ["warning"] }, { required: ["alert"] }],
        properties: {
          metric: { description: "The full name of one metric.", type: "string" },
          direction: { description: "The direction in which values are bad.", enum: ["above", "below"] },
          warning: LEVEL,
          alert: LEVEL,
          missing: {
            description: "The severity when the metric is missing.",
            enum: ["unknown", "ok", "warning", "alert"],
          },
        },
      },
    },
    defaults: {
      description: "Whether the defaults apply to metrics without a threshold.",
      type: "boolean",
      default: true,
    },
  },
};
const DEFAULTS = [
  { metric: "disk", warning: 80, alert: 90 },
  { metric: "memory", warning: 80, alert: 90 },
  { metric: "active_chunks", warning: 35, alert: 40 },
  { metric: "cpu_mean_1m", warning: 90, alert: 95 },
  { metric: "inodes", warning: 80, alert: 90 },
];

/** The exports of the component. componentize-js finds them by this name. */
export const thresholdRule = {
  describe() {
    return {
      name: "threshold-javascript",
      version: "1.0.0",
      description:
        "Compares metrics with warning and alert levels. By default: disk, memory and inodes at 80 and 90 %, the " +
        "CPU's mean of a minute at 90 and 95 %, work chunks in progress at 35 and 40.",
      settingsSchema: JSON.stringify(SCHEMA),
    };
  },

  /** Throws the error of the contract: a list of problems. */
  checkSettings(/** @type {string} */ settings) {
    try {
      const thresholds = read(settings);
      const prepared = new TextEncoder().encode(JSON.stringify(thresholds));
      const { defaults = true } = JSON.parse(settings);
      const effectiveSettings = JSON.stringify({ defaults, thresholds });
      return { metrics: thresholds.map(({ metric }) => metric), settings: prepared, effectiveSettings };
    } catch (error) {
      throw [{ path: error.path ?? "", message: error.message }];
    }
  },

  /** Throws the error of the contract: a text. An `Error` would end the call as a trap without a message. */
  judge(/** @type {Round} */ round, /** @type {Uint8Array} */ settings) {
    try {
      return judge(round, JSON.parse(new TextDecoder().decode(settings)));
    } catch (error) {
      throw String(error);
    }
  },
};

// The settings.

/** A problem in the settings: its place as a JSON Pointer, and what to write instead. */
class SettingsError extends Error {
  constructor(/** @type {string} */ path, /** @type {string} */ message) {
    super(message);
    this.path = path;
  }
}

/** @returns {Threshold[]} */
function read(/** @type {string} */ settings) {
  const given = fields(JSON.parse(settings), "", ["thresholds", "defaults"]);
  const { thresholds: listed = [], defaults = true } = given;
  if (!Array.isArray(listed)) throw new SettingsError("/thresholds", "write a list of thresholds");
  if (typeof defaults !== "boolean") throw new SettingsError("/defaults", "write true or false");
  const thresholds = listed.map((entry, at) => threshold(entry, `/thresholds/${at}`));
  const names = thresholds.map(({ metric }) => metric);
  const twice = names.findIndex((name, at) => names.indexOf(name) < at);
  if (twice >= 0) {
    const first = `/thresholds/${names.indexOf(names[twice])}`;
    throw new SettingsError(`/thresholds/${twice}/metric`, `${names[twice]} has a threshold at ${first}; merge both`);
  }
  // A threshold replaces the default for its metric.
  const remaining = DEFAULTS.filter(({ metric }) => defaults && !names.includes(metric));
  return [...thresholds, ...remaining.map((entry) => threshold(entry, ""))];
}

/** @returns {Threshold} */
function threshold(given, at) {
  const entry = fields(given, at, ["metric", "direction", "warning", "alert", "missing"]);
  const { metric } = entry;
  if (typeof metric !== "string" || !/^[A-Za-z_:][A-Za-z0-9_:]{0,199}$/.test(metric)) {
    throw new SettingsError(`${at}/metric`, "write the full name of one metric; this rule supports no patterns");
  }
  const direction = choice(entry, "direction", ["above", "below"], at);
  const warning = level(entry.warning, `${at}/warning`, direction);
  const alert = level(entry.alert, `${at}/alert`, direction);
  if (!warning && !alert) throw new SettingsError(at, "set a warning level, an alert level, or both");
  if (warning && alert && worse(warning.enter, alert.enter, direction)) {
    throw new SettingsError(`${at}/warning`, `warning level ${warning.enter} is beyond alert level ${alert.enter}`);
  }
  const missing = choice(entry, "missing", ["unknown", "ok", "warning", "alert"], at);
  return { metric, direction, warning, alert, missing };
}

/** @returns {Level | undefined} */
function level(given, at, direction) {
  if (given === undefined || given === null) return undefined;
  if (typeof given !== "object") return { enter: number(given, at), clear: number(given, at) };
  const entry = fields(given, at, ["enter", "clear"]);
  const [enter, clear] = [number(entry.enter, `${at}/enter`), number(entry.clear, `${at}/clear`)];
  if (worse(clear, enter, direction)) {
    throw new SettingsError(at, `clear is ${clear}, which is worse than enter, ${enter}`);
  }
  return { enter, clear };
}

function worse(one, than, direction) {
  return direction === "above" ? one > than : one < than;
}

/** Rejects unknown keys: with a misspelt one, a level would silently not apply. */
function fields(given, at, known) {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new SettingsError(at, `write an object with ${known.join(", ")}`);
  }
  const unknown = Object.keys(given).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    const place = unknown.replaceAll("~", "~0").replaceAll("/", "~1");
    throw new SettingsError(`${at}/${place}`, `unknown setting ${unknown}; use ${known.join(", ")}`);
  }
  return given;
}

/** One of the words; the first one is the default. */
function choice(entry, key, words, at) {
  const word = entry[key] ?? words[0];
  if (!words.includes(word)) throw new SettingsError(`${at}/${key}`, `write one of ${words.join(", ")}`);
  return word;
}

/** @returns {number} */
function number(given, at) {
  if (!Number.isFinite(given)) throw new SettingsError(at, "write a number");
  return given;
}

// The judgement.

/** @returns {Finding[]} */
function judge(/** @type {Round} */ round, /** @type {Threshold[]} */ thresholds) {
  const metrics = new Map(round.metrics.map((metric) => [metric.name, metric]));
  const notOk = round.last.filter(({ severity }) => severity !== "ok");
  const entered = new Map(notOk.map(({ subject, limit }) => [series(subject), limit]));
  return thresholds.flatMap((threshold) => {
    const metric = metrics.get(threshold.metric);
    const findings = (metric?.samples ?? []).map((sample) => found(threshold, metric, sample, entered));
    const shown = new Set(findings.map(({ subject }) => series(subject)));
    return [...findings, ...absent(threshold, shown, entered, round)];
  });
}

/** @returns {Finding} */
function found(
  /** @type {Threshold} */ threshold,
  /** @type {Metric} */ metric,
  /** @type {Sample} */ { labels, value },
  /** @type {Map<string, number | undefined>} */ entered,
) {
  const subject = { metric: metric.name, labels };
  const severity = severityOf(threshold, value, entered.get(series(subject)));
  const { enter: limit } = severity === "alert" ? threshold.alert : threshold.warning ?? threshold.alert;
  if (severity === "ok") return { subject, severity, value, limit, message: "" };
  const unit = metric.unit === "percent" ? " %" : metric.unit && ` ${metric.unit}`;
  const side = `at or ${threshold.direction} the ${severity} level of ${short(limit)}${unit}`;
  return { subject, severity, value, limit, message: `${series(subject)} is ${short(value)}${unit}, ${side}` };
}

/**
 * The severity of a value; `entered` is the level that the series was in, which is left at its clear value.
 * @returns {Severity}
 */
function severityOf(/** @type {Threshold} */ { warning, alert, direction }, value, entered) {
  // A value equal to the level is bad.
  const beyond = (limit) => (direction === "above" ? value >= limit : value <= limit);
  const holds = (level, isIn) => level && beyond(isIn ? level.clear : level.enter);
  const isIn = (level) => level !== undefined && level.enter === entered;
  if (holds(alert, isIn(alert))) return "alert";
  if (holds(warning, isIn(alert) || isIn(warning))) return "warning";
  return "ok";
}

/**
 * Findings about what is missing: series of the last round that a gap explains, or the metric as a whole. A series
 * that is missing without a gap no longer exists, like an unmounted disk, and has no finding. A missing series keeps
 * the level that it had entered.
 * @returns {Finding[]}
 */
function absent({ metric, missing }, shown, entered, /** @type {Round} */ round) {
  if (missing === "ok") return [];
  const gap = round.gaps.find(({ metrics }) => metrics.some((name) => covers(name, metric)));
  const lost = round.last
    .map(({ subject }) => subject)
    .filter((subject) => gap && subject.metric === metric && subject.labels.length && !shown.has(series(subject)));
  if (shown.size === 0 && lost.length === 0) lost.push({ metric, labels: [] });
  const why = gap
    ? `could not be measured: ${gap.source}: ${gap.reason}`
    : "is not measured; enable its source";
  return lost.map((subject) => {
    const name = series(subject);
    return { subject, severity: missing, limit: entered.get(name), message: `${name} ${why}` };
  });
}

function covers(name, metric) {
  return name.endsWith("*") ? metric.startsWith(name.slice(0, -1)) : metric === name;
}

/** A metric and its labels in the notation of Prometheus: `disk{mountpoint="/"}`. */
function series(/** @type {Subject} */ { metric, labels }) {
  const pairs = labels.map(({ name, value }) => `${name}=${JSON.stringify(value)}`);
  return pairs.length ? `${metric}{${pairs.join(",")}}` : metric;
}

/** Rounds to two decimals, without trailing zeros. */
function short(/** @type {number} */ value) {
  return String(Number(value.toFixed(2)));
}

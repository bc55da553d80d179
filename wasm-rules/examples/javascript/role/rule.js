// A role rule in JavaScript: identities have roles, roles have actions, and `while` takes actions away while
// something is not ok. Whatever it does not know, it refuses.

/**
 * @typedef {"ok" | "unknown" | "warning" | "alert"} Severity
 * @typedef {{ name: string, value: string }} Label
 * @typedef {{ subject: string, issuer: string, subjectAttributes: Label[] }} Certificate
 * @typedef {{ tag: "anonymous" } | { tag: "certificate", val: Certificate } | { tag: "token", val: string }} Identity
 * @typedef {{ identity: Identity, action: string, resource: string, facts: Label[] }} Request
 * @typedef {{ rule: string, subject: { metric: string, labels: Label[] }, severity: Severity, sinceMs: bigint }} Standing
 * @typedef {{ allowed: boolean, roles: string[], reason: string }} Decision
 *
 * @typedef {{ token?: string, issuer?: string, attributes?: Record<string, string> }} Match
 * @typedef {{ metric: string, at_least: Severity, deny: string[], except?: string[], reason?: string }} Clause
 * @typedef {{
 *   identities: { match: Match, roles: string[] }[],
 *   roles: Record<string, string[]>,
 *   while: Clause[],
 * }} Settings
 */

/** The role that everyone has. */
const ANYONE = "anonymous";

/** From best to worst. */
const SEVERITIES = ["ok", "unknown", "warning", "alert"];

const TEXTS = { type: "array", items: { type: "string" } };
const SCHEMA = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  additionalProperties: false,
  properties: {
    identities: {
      description: "Who has which roles. An identity has the roles of every entry that matches it.",
      type: "array",
      items: {
        type: "object",
        additionalProperties: false,
        required: ["match", "roles"],
        properties: {
          match: {
            description: "Every field that is given has to match, letter by letter.",
            type: "object",
            additionalProperties: false,
            minProperties: 1,
            properties: {
              token: { type: "string" },
              issuer: { description: "As RFC 4514 writes it.", type: "string" },
              attributes: { type: "object", additionalProperties: { type: "string" } },
            },
          },
          roles: TEXTS,
        },
      },
    },
    roles: {
      description: "Which role may do what: actions, or * for all of them. Everyone has the role anonymous.",
      type: "object",
      additionalProperties: TEXTS,
    },
    while: {
      description: "What is taken away while something is not ok.",
      type: "array",
      items: {
        type: "object",
        additionalProperties: false,
        required: ["metric", "at_least", "deny"],
        properties: {
          metric: { description: "The whole name of one metric.", type: "string" },
          at_least: { enum: ["unknown", "warning", "alert"] },
          deny: TEXTS,
          except: TEXTS,
          reason: { description: "What the one who asked is told.", type: "string" },
        },
      },
    },
  },
};

const DEVELOPMENT_ISSUER = "CN=Watchpost development CA,O=Watchpost";
const READER = [
  "health.read", "service.read", "docs.read", "metrics.read", "history.read", "chunks.read", "alerts.read",
  "sessions.read", "rules.read",
];
/** @type {Settings} */
const DEFAULTS = {
  identities: ["admin", "user", "reader", "agent"].map((role) => ({
    match: { issuer: DEVELOPMENT_ISSUER, attributes: { OU: role } },
    roles: [role],
  })),
  roles: {
    [ANYONE]: ["health.read", "service.read", "docs.read"],
    reader: READER,
    user: [...READER, "alerts.silence", "sessions.run", "chunks.write"],
    agent: ["metrics.push", "chunks.read", "chunks.write"],
    admin: ["*"],
  },
  while: [],
};

/** What the host calls. componentize-js finds it by its name. */
export const roleRule = {
  describe() {
    return {
      name: "role-javascript",
      version: "1.0.0",
      description:
        "Gives roles to identities and actions to roles, and takes actions away while something is not ok. By " +
        "default the OU of a development certificate is its role.",
      settingsSchema: JSON.stringify(SCHEMA),
    };
  },

  /** What is thrown here is the error of the contract: a list of problems. */
  checkSettings(/** @type {string} */ settings, /** @type {string[]} */ actions) {
    try {
      const checked = check(settings, actions);
      const metrics = [...new Set(checked.while.map(({ metric }) => metric))];
      return { metrics, settings: new TextEncoder().encode(JSON.stringify(checked)) };
    } catch (error) {
      throw [{ at: error.at ?? "", what: error.message }];
    }
  },

  /** What is thrown here is the error of the contract: a text. An `Error` would end the call without a word. */
  decide(/** @type {Request} */ request, /** @type {Standing[]} */ standings, /** @type {Uint8Array} */ settings) {
    try {
      return decide(request, standings, JSON.parse(new TextDecoder().decode(settings)));
    } catch (error) {
      throw String(error);
    }
  },
};

// What the operator may write. What is left out has its default; what is given replaces it whole.

/** Something in the settings that cannot be meant: where, and what to write instead. */
class Mistake extends Error {
  constructor(/** @type {string} */ at, /** @type {string} */ what) {
    super(what);
    this.at = at;
  }
}

/**
 * The settings with every default filled in; `decide` need not doubt them.
 * @returns {Settings}
 */
function check(/** @type {string} */ settings, /** @type {string[]} */ actions) {
  const checked = { ...DEFAULTS, ...fields(JSON.parse(settings), "", ["identities", "roles", "while"]) };
  const roles = Object.keys(mapping(checked.roles, "/roles"));
  for (const role of roles) {
    checkWords(checked.roles[role], `/roles/${pointer(role)}`, ["*", ...actions], "action");
  }
  items(checked.identities, "/identities").forEach((entry, at) => checkEntry(entry, `/identities/${at}`, roles));
  items(checked.while, "/while").forEach((clause, at) => checkClause(clause, `/while/${at}`, roles, actions));
  return checked;
}

function checkEntry(entry, at, roles) {
  fields(entry, at, ["match", "roles"], ["match", "roles"]);
  const { token, issuer, attributes = {} } = fields(entry.match, `${at}/match`, ["token", "issuer", "attributes"]);
  text(token ?? "", `${at}/match/token`);
  text(issuer ?? "", `${at}/match/issuer`);
  for (const [kind, value] of Object.entries(mapping(attributes, `${at}/match/attributes`))) {
    text(value, `${at}/match/attributes/${pointer(kind)}`);
  }
  if (token === undefined && issuer === undefined && Object.keys(attributes).length === 0) {
    throw new Mistake(`${at}/match`, "match at least one field; everyone has the role anonymous anyway");
  }
  checkWords(entry.roles, `${at}/roles`, roles, "role");
}

function checkClause(clause, at, roles, actions) {
  fields(clause, at, ["metric", "at_least", "deny", "except", "reason"], ["metric", "at_least", "deny"]);
  // A pattern that is taken for a name would never hold, and so take nothing away.
  if (text(clause.metric, `${at}/metric`).includes("*")) {
    throw new Mistake(`${at}/metric`, "write the whole name of one metric; this rule knows no patterns");
  }
  if (!["unknown", "warning", "alert"].includes(clause.at_least)) {
    throw new Mistake(`${at}/at_least`, "write one of unknown, warning, alert");
  }
  checkWords(clause.deny, `${at}/deny`, ["*", ...actions], "action");
  if (clause.deny.length === 0) throw new Mistake(`${at}/deny`, "name the actions that are taken away");
  checkWords(clause.except ?? [], `${at}/except`, roles, "role");
  text(clause.reason ?? "", `${at}/reason`);
}

function fields(given, at, known, required = []) {
  const unknown = Object.keys(mapping(given, at)).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    const what = `this rule does not know ${unknown}; it knows ${known.join(", ")}`;
    throw new Mistake(`${at}/${pointer(unknown)}`, what);
  }
  const lacking = required.find((key) => given[key] === undefined);
  if (lacking !== undefined) throw new Mistake(at, `${lacking} is needed here`);
  return given;
}

function checkWords(given, at, known, kind) {
  items(given, at).forEach((word, index) => {
    if (!known.includes(word)) {
      throw new Mistake(`${at}/${index}`, `there is no ${kind} ${word}; there are ${known.join(", ")}`);
    }
  });
}

/** @returns {Record<string, any>} */
function mapping(given, at) {
  if (typeof given !== "object" || given === null || Array.isArray(given)) throw new Mistake(at, "write an object");
  return given;
}

/** @returns {any[]} */
function items(given, at) {
  if (!Array.isArray(given)) throw new Mistake(at, "write a list");
  return given;
}

/** @returns {string} */
function text(given, at) {
  if (typeof given !== "string") throw new Mistake(at, "write a text");
  return given;
}

function pointer(/** @type {string} */ key) {
  return key.replaceAll("~", "~0").replaceAll("/", "~1");
}

// The decision.

/** @returns {Decision} */
function decide(/** @type {Request} */ request, /** @type {Standing[]} */ standings, /** @type {Settings} */ settings) {
  const roles = [...rolesOf(request.identity, settings.identities), ANYONE];
  const granted = roles.flatMap((role) => (Object.hasOwn(settings.roles, role) ? settings.roles[role] : []));
  if (!names(granted, request.action)) {
    return { allowed: false, roles, reason: notGranted(request, roles) };
  }
  for (const clause of settings.while) {
    const spared = roles.some((role) => clause.except?.includes(role));
    const standing = standings.find((standing) => holds(clause, standing));
    if (standing && names(clause.deny, request.action) && !spared) {
      return { allowed: false, roles, reason: takenAway(request, clause, standing) };
    }
  }
  return { allowed: true, roles, reason: "" };
}

/** Each role once, in the order of the settings. */
function rolesOf(/** @type {Identity} */ identity, /** @type {Settings["identities"]} */ entries) {
  return new Set(entries.filter(({ match }) => matches(identity, match)).flatMap(({ roles }) => roles));
}

/** Every field that is given has to match, and a token has no issuer and no attributes. */
function matches(/** @type {Identity} */ identity, /** @type {Match} */ { token, issuer, attributes }) {
  switch (identity.tag) {
    case "token":
      return token === identity.val && issuer === undefined && attributes === undefined;
    case "certificate": {
      const certificate = identity.val;
      const kinds = Object.entries(attributes ?? {});
      const issued = issuer === undefined || issuer === certificate.issuer;
      return token === undefined && issued && kinds.every(([kind, value]) => has(certificate, kind, value));
    }
    default:
      return false;
  }
}

function has(/** @type {Certificate} */ { subjectAttributes }, kind, value) {
  // The subject's text is not searched: a name may hold what looks like another attribute.
  return subjectAttributes.some((attribute) => attribute.name === kind && attribute.value === value);
}

function names(/** @type {string[]} */ actions, /** @type {string} */ action) {
  return actions.includes("*") || actions.includes(action);
}

function holds(/** @type {Clause} */ clause, /** @type {Standing} */ { subject, severity }) {
  return subject.metric === clause.metric && SEVERITIES.indexOf(severity) >= SEVERITIES.indexOf(clause.at_least);
}

function notGranted(/** @type {Request} */ { identity, action }, /** @type {string[]} */ roles) {
  if (identity.tag === "anonymous") {
    return `anonymous clients may not do ${action}; present a client certificate or a token`;
  }
  const who = identity.tag === "certificate" ? identity.val.subject : `the token ${identity.val}`;
  const own = roles.filter((role) => role !== ANYONE);
  if (own.length === 0) return `${who} has no role here, and ${action} needs one`;
  return `${who} has the role ${own.join(", ")}, which does not allow ${action}`;
}

function takenAway(/** @type {Request} */ { action }, /** @type {Clause} */ clause, /** @type {Standing} */ standing) {
  const why = clause.reason ?? `${action} is not allowed meanwhile`;
  return `${standing.subject.metric} is in ${standing.severity}: ${why}`;
}

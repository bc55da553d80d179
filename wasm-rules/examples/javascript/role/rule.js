// A role rule in JavaScript: identities have roles, roles have actions, and `while` clauses deny actions while
// something is not ok. Unknown settings are rejected, and an action that no role grants is denied.

/**
 * @typedef {"ok" | "unknown" | "warning" | "alert"} Severity
 * @typedef {{ name: string, value: string }} Label
 * @typedef {{ subject: string, issuer: string, subjectAttributes: Label[] }} Certificate
 * @typedef {{ tag: "anonymous" } | { tag: "certificate", val: Certificate } | { tag: "token", val: string }} Identity
 * @typedef {{ identity: Identity, action: string, resource: string, facts: Label[], assignedRoles: string[] }} Request
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

/** The role of every client. */
const ANONYMOUS = "anonymous";

/** In ascending order of severity. */
const SEVERITIES = ["ok", "unknown", "warning", "alert"];

const TEXTS = { type: "array", items: { type: "string" } };
const SCHEMA = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  additionalProperties: false,
  properties: {
    identities: {
      description: "The roles of identities. An identity has the roles of every entry that matches it.",
      type: "array",
      items: {
        type: "object",
        additionalProperties: false,
        required: ["match", "roles"],
        properties: {
          match: {
            description: "Every field that is set must match exactly.",
            type: "object",
            additionalProperties: false,
            minProperties: 1,
            properties: {
              token: { type: "string" },
              issuer: { description: "In the notation of RFC 4514.", type: "string" },
              attributes: { type: "object", additionalProperties: { type: "string" } },
            },
          },
          roles: TEXTS,
        },
      },
    },
    roles: {
      description: "The actions of each role, or * for all actions. Every client has the role anonymous.",
      type: "object",
      additionalProperties: TEXTS,
    },
    while: {
      description: "Actions that are denied while something is not ok.",
      type: "array",
      items: {
        type: "object",
        additionalProperties: false,
        required: ["metric", "at_least", "deny"],
        properties: {
          metric: { description: "The full name of one metric.", type: "string" },
          at_least: { enum: ["unknown", "warning", "alert"] },
          deny: TEXTS,
          except: TEXTS,
          reason: { description: "The reason in the response to a denied request.", type: "string" },
        },
      },
    },
  },
};

const READER = [
  "health.read", "service.read", "docs.read", "metrics.read", "history.read", "chunks.read", "alerts.read",
  "sessions.read", "rules.read",
];
/** @type {Settings} */
const DEFAULTS = {
  identities: [],
  roles: {
    [ANONYMOUS]: ["health.read", "service.read", "docs.read"],
    reader: READER,
    user: [...READER, "alerts.silence", "sessions.run", "chunks.write"],
    agent: ["metrics.push", "chunks.read", "chunks.write"],
    admin: ["*"],
  },
  while: [],
};

/** The exports of the component. componentize-js finds them by this name. */
export const roleRule = {
  describe() {
    return {
      name: "role-javascript",
      version: "1.0.0",
      description: "Gives roles to identities and actions to roles, and denies actions while something is not ok.",
      settingsSchema: JSON.stringify(SCHEMA),
    };
  },

  /** Throws the error of the contract: a list of problems. */
  checkSettings(/** @type {string} */ settings, /** @type {string[]} */ actions) {
    try {
      const checked = check(settings, actions);
      const metrics = [...new Set(checked.while.map(({ metric }) => metric))];
      const text = JSON.stringify(checked);
      return { metrics, settings: new TextEncoder().encode(text), effectiveSettings: text };
    } catch (error) {
      throw [{ path: error.path ?? "", message: error.message }];
    }
  },

  /** Throws the error of the contract: a text. An `Error` would end the call as a trap without a message. */
  decide(/** @type {Request} */ request, /** @type {Standing[]} */ standings, /** @type {Uint8Array} */ settings) {
    try {
      return decide(request, standings, JSON.parse(new TextDecoder().decode(settings)));
    } catch (error) {
      throw String(error);
    }
  },
};

// The settings. Roles extend the built-in ones, and replace one of the same name.

/** A problem in the settings: its place as a JSON Pointer, and what to write instead. */
class SettingsError extends Error {
  constructor(/** @type {string} */ path, /** @type {string} */ message) {
    super(message);
    this.path = path;
  }
}

/**
 * The checked settings with every default filled in.
 * @returns {Settings}
 */
function check(/** @type {string} */ settings, /** @type {string[]} */ actions) {
  const given = fields(JSON.parse(settings), "", ["identities", "roles", "while"]);
  for (const [role, granted] of Object.entries(mapping(given.roles ?? {}, "/roles"))) {
    checkNames(granted, `/roles/${pointer(role)}`, ["*", ...actions], "action");
  }
  const checked = { ...DEFAULTS, ...given, roles: { ...DEFAULTS.roles, ...given.roles } };
  const roles = Object.keys(checked.roles);
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
    throw new SettingsError(`${at}/match`, "match at least one field; every client has the role anonymous anyway");
  }
  checkNames(entry.roles, `${at}/roles`, roles, "role");
}

function checkClause(clause, at, roles, actions) {
  fields(clause, at, ["metric", "at_least", "deny", "except", "reason"], ["metric", "at_least", "deny"]);
  // A pattern would be read as a name that no metric has, and so deny nothing.
  if (text(clause.metric, `${at}/metric`).includes("*")) {
    throw new SettingsError(`${at}/metric`, "write the full name of one metric; this rule supports no patterns");
  }
  if (!["unknown", "warning", "alert"].includes(clause.at_least)) {
    throw new SettingsError(`${at}/at_least`, "write one of unknown, warning, alert");
  }
  checkNames(clause.deny, `${at}/deny`, ["*", ...actions], "action");
  if (clause.deny.length === 0) throw new SettingsError(`${at}/deny`, "name the actions to deny");
  checkNames(clause.except ?? [], `${at}/except`, roles, "role");
  text(clause.reason ?? "", `${at}/reason`);
}

function fields(given, at, known, required = []) {
  const unknown = Object.keys(mapping(given, at)).find((key) => !known.includes(key));
  if (unknown !== undefined) {
    const what = `unknown setting ${unknown}; use ${known.join(", ")}`;
    throw new SettingsError(`${at}/${pointer(unknown)}`, what);
  }
  const missing = required.find((key) => given[key] === undefined);
  if (missing !== undefined) throw new SettingsError(at, `${missing} is required`);
  return given;
}

function checkNames(given, at, known, kind) {
  items(given, at).forEach((name, index) => {
    if (!known.includes(name)) {
      throw new SettingsError(`${at}/${index}`, `unknown ${kind} ${name}; use one of ${known.join(", ")}`);
    }
  });
}

/** @returns {Record<string, any>} */
function mapping(given, at) {
  if (typeof given !== "object" || given === null || Array.isArray(given)) throw new SettingsError(at, "write an object");
  return given;
}

/** @returns {any[]} */
function items(given, at) {
  if (!Array.isArray(given)) throw new SettingsError(at, "write a list");
  return given;
}

/** @returns {string} */
function text(given, at) {
  if (typeof given !== "string") throw new SettingsError(at, "write a text");
  return given;
}

function pointer(/** @type {string} */ key) {
  return key.replaceAll("~", "~0").replaceAll("/", "~1");
}

// The decision.

/** @returns {Decision} */
function decide(/** @type {Request} */ request, /** @type {Standing[]} */ standings, /** @type {Settings} */ settings) {
  const roles = [...rolesOf(request, settings)];
  const granted = roles.flatMap((role) => (Object.hasOwn(settings.roles, role) ? settings.roles[role] : []));
  if (!names(granted, request.action)) {
    return { allowed: false, roles, reason: notGranted(request, roles) };
  }
  for (const clause of settings.while) {
    const excepted = roles.some((role) => clause.except?.includes(role));
    const standing = standings.find((standing) => holds(clause, standing));
    if (standing && names(clause.deny, request.action) && !excepted) {
      return { allowed: false, roles, reason: deniedByClause(request, clause, standing) };
    }
  }
  return { allowed: true, roles, reason: "" };
}

/** Each role once: those that the server assigns, and those of the settings. A limited proxy has none of them. */
function rolesOf(
  /** @type {Request} */ { identity, facts, assignedRoles },
  /** @type {Settings} */ { identities, roles },
) {
  if (facts.some(({ name, value }) => name === "proxy" && value === "limited")) return new Set([ANONYMOUS]);
  const named = assignedRoles.filter((role) => Object.hasOwn(roles, role));
  const matching = identities.filter(({ match }) => matches(identity, match)).flatMap((entry) => entry.roles);
  return new Set([...named, ...matching].filter((role) => role !== ANONYMOUS)).add(ANONYMOUS);
}

/** Every field that is set must match; a token has no issuer and no attributes. */
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
  // Compares parsed attributes, because a value in the text of the subject may look like another attribute.
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
  const client = identity.tag === "certificate" ? identity.val.subject : `the token ${identity.val}`;
  const named = roles.filter((role) => role !== ANONYMOUS);
  if (named.length === 0) return `${client} has no role here, and ${action} needs one`;
  return `${client} has the role ${named.join(", ")}, which does not allow ${action}`;
}

function deniedByClause(/** @type {Request} */ { action }, /** @type {Clause} */ clause, /** @type {Standing} */ standing) {
  const reason = clause.reason ?? `${action} is not allowed meanwhile`;
  return `${standing.subject.metric} is in ${standing.severity}: ${reason}`;
}

// Renders the document of the profile in the URL, in the browser's preferred colour scheme.
"use strict";

const profile = new URLSearchParams(location.search).get("api");
const dark = matchMedia("(prefers-color-scheme: dark)");

const theme = (isDark) => {
  const ink = isDark ? "#e6e8ea" : "#1c2430";
  const soft = isDark ? "#9aa5b1" : "#5a6472";
  const paper = isDark ? "#14181d" : "#fbfbf9";
  const panel = isDark ? "#1a2027" : "#ffffff";
  const line = isDark ? "#303840" : "#d9d9d2";
  const accent = isDark ? "#58c9b9" : "#0b6e63";
  return {
    colors: {
      primary: { main: accent },
      text: { primary: ink, secondary: soft },
      border: { dark: line, light: line },
      gray: { 50: panel, 100: line },
      success: { main: isDark ? "#58c99a" : "#1c7a4d" },
      error: { main: isDark ? "#ff8f87" : "#b3261e" },
      responses: {
        success: { color: isDark ? "#58c99a" : "#1c7a4d", backgroundColor: isDark ? "#16291f" : "#e9f5ee", tabTextColor: "#58c99a" },
        error: { color: isDark ? "#ff8f87" : "#b3261e", backgroundColor: isDark ? "#2d1a19" : "#fbeceb", tabTextColor: "#ff8f87" },
      },
    },
    schema: { nestedBackground: panel, typeNameColor: soft, typeTitleColor: soft, linesColor: line, arrow: { color: soft } },
    typography: {
      fontSize: "16px",
      fontFamily: "system-ui, sans-serif",
      headings: { fontFamily: "system-ui, sans-serif", fontWeight: "600" },
      code: { fontFamily: "ui-monospace, monospace", color: isDark ? "#ffb4a8" : "#9b2c1e", backgroundColor: isDark ? "#20262d" : "#f1f0ec" },
      links: { color: accent, visited: accent, hover: accent },
    },
    sidebar: { backgroundColor: panel, textColor: ink, activeTextColor: accent, arrow: { color: soft } },
    rightPanel: { backgroundColor: isDark ? "#0f1317" : "#1f2933", textColor: "#eef1f4" },
    codeBlock: { backgroundColor: isDark ? "#0a0d10" : "#141b22" },
    paper,
  };
};

// Errors that every operation can answer are shared components of the document. They are listed once, in the
// introduction, instead of under each operation.
const shortened = (spec) => {
  const shared = new Map();
  for (const path of Object.values(spec.paths)) {
    for (const operation of Object.values(path)) {
      for (const [status, response] of Object.entries(operation.responses ?? {})) {
        if (!response.$ref) continue;
        const { description } = spec.components.responses[response.$ref.split("/").pop()];
        shared.set(status, description);
        delete operation.responses[status];
      }
    }
  }
  const rows = [...shared].sort().map(([status, description]) => `| ${status} | ${description} |`);
  spec.info.description += "\n\n**Errors of all operations**\n\n| status | meaning |\n| --- | --- |\n" + rows.join("\n");
  return spec;
};

const paint = (spec) =>
  Redoc.init(
    spec,
    {
      theme: theme(dark.matches),
      nativeScrollbars: true,
      hideDownloadButton: true,
      requiredPropsFirst: true,
      expandResponses: "200,201",
    },
    document.getElementById("redoc"),
  );
fetch("/openapi.json" + (profile ? "?api=" + encodeURIComponent(profile) : ""))
  .then((response) => response.json())
  .then((spec) => paint(shortened(spec)));
dark.addEventListener("change", () => location.reload());

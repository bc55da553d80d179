// Renders the document of the profile in the URL, in the browser's preferred colour scheme.
"use strict";

const profile = new URLSearchParams(location.search).get("api");
const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
paint();
dark.addEventListener("change", paint);

// Without this, an operation that needs no login has a closed padlock, as if the reader had logged in.
const padlocks = () => ({
  statePlugins: {
    auth: {
      wrapSelectors: {
        isAuthorized: (original) => (state, requirements) =>
          original(state, requirements.filter((requirement) => requirement.size > 0)),
      },
    },
  },
});

// The page begins with the operations: of the introduction it shows the first paragraph.
const shortened = (spec) => {
  const [summary] = spec.info.description.split("\n\n");
  const reference = "/redoc" + (profile ? "?api=" + encodeURIComponent(profile) : "");
  spec.info.description = `${summary} The [reference](${reference}) describes authentication, errors and times.`;
  return spec;
};

const show = (spec) => SwaggerUIBundle({
  spec,
  dom_id: "#swagger-ui",
  plugins: [padlocks],
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  // No data is sent to a third party.
  validatorUrl: null,
  persistAuthorization: false,
  // Another profile has another listener. "Try it out" would send requests to this listener, where the same paths
  // have other responses.
  ...(profile === "pixcrawler" && { supportedSubmitMethods: [] }),
});

fetch("/openapi.json" + (profile ? "?api=" + encodeURIComponent(profile) : ""))
  .then((response) => response.json())
  .then((spec) => show(shortened(spec)));

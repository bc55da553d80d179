// Renders the document of the profile in the URL, in the browser's preferred colour scheme.
"use strict";

const profile = new URLSearchParams(location.search).get("api");
const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
paint();
dark.addEventListener("change", paint);

SwaggerUIBundle({
  url: "/openapi.json" + (profile ? "?api=" + encodeURIComponent(profile) : ""),
  dom_id: "#swagger-ui",
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

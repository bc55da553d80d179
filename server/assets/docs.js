// Shows the document of the profile that the address names, in light or dark as the browser prefers.
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
  // What is sent stays between the browser and this server.
  validatorUrl: null,
  persistAuthorization: false,
  // Another profile is another listener. What would be tried here is asked of this one, where the same paths answer
  // otherwise.
  ...(profile === "pixcrawler" && { supportedSubmitMethods: [] }),
});

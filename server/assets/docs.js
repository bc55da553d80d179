// Shows the document of the face that the address names, in light or dark as the browser prefers.
"use strict";

const face = new URLSearchParams(location.search).get("api");
const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
paint();
dark.addEventListener("change", paint);

SwaggerUIBundle({
  url: "/openapi.json" + (face ? "?api=" + encodeURIComponent(face) : ""),
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  // What is sent stays between the browser and this server.
  validatorUrl: null,
  persistAuthorization: false,
  // Another face is another listener. What would be tried here is asked of this one, where the same paths answer
  // otherwise.
  ...(face === "resource" && { supportedSubmitMethods: [] }),
});

// Builds a component of a rule: node build.mjs SOURCE WIT WORLD OUT.
// It calls the library, because the command of the same package has no option for `disableFeatures`.

import { writeFile } from "node:fs/promises";

import { componentize } from "@bytecodealliance/componentize-js";

const [sourcePath, witPath, worldName, out] = process.argv.slice(2);

const { component } = await componentize({
  sourcePath,
  witPath,
  worldName,
  // A rule imports nothing: no clock, no random numbers, no output, no network.
  disableFeatures: ["random", "stdio", "clocks", "http", "fetch-event"],
});
await writeFile(out, component);

// build.js SOURCE WIT WORLD OUT: makes a component of a plugin in JavaScript.
//
// Runs from a folder where the lockfile's packages were installed beside it. All features off: a plugin in JavaScript then
// imports nothing of WASI at all.

import { writeFile } from 'node:fs/promises';

import { componentize } from '@bytecodealliance/componentize-js';

const [sourcePath, witPath, worldName, out] = process.argv.slice(2);
const { component } = await componentize({
  sourcePath,
  witPath,
  worldName,
  disableFeatures: ['stdio', 'random', 'clocks', 'http', 'fetch-event'],
});
await writeFile(out, component);
